// OpenBLAS starts threads of its own as soon as it is loaded, before main(). The program never uses
// them (ops/blas.cpp), but each asks for 128 MB of address space and, where that is limited, it
// asks for ever, and the end of the program waits for it. Only the environment variable
// OPENBLAS_NUM_THREADS keeps it from starting them: so a program with a limit starts once more,
// with that variable, before the constructors of its libraries run.
#ifdef __linux__

#include <limits.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace {

constexpr const char* one_thread = "OPENBLAS_NUM_THREADS=1";

bool is_number_of_threads(const char* variable) {
  return std::strncmp(variable, one_thread, std::strlen(one_thread) - 1) == 0;
}

// No library is ready yet: no allocation, and no `environ`.
void start_again_with_one_thread(int, char** arguments, char** environment) {
  rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  char** end = environment;
  while (*end) ++end;
  char** const found = std::find_if(environment, end, is_number_of_threads);
  if (found != end && std::strcmp(*found, one_thread) == 0) return;

  char program[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length <= 0) return;  // without /proc it goes on, at its own risk
  program[length] = '\0';
  auto** const changed =
      static_cast<char**>(__builtin_alloca((end - environment + 2) * sizeof *end));
  char** last = std::remove_copy_if(environment, end, changed, is_number_of_threads);
  *last++ = const_cast<char*>(one_thread);
  *last = nullptr;
  execve(program, arguments, changed);
}

[[gnu::section(".preinit_array"),
  gnu::used]] void (*const before_libraries)(int, char**, char**) = start_again_with_one_thread;

}  // namespace

#endif
