// Both libraries in one process.
#include <cstdio>

extern "C" double third_in_float();
extern "C" double third_in_double();

int main() { std::printf("%.10f %.16f\n", third_in_float(), third_in_double()); }
