// Printed tensors, against what NumPy 1.24 prints for the same arrays of float64 and of float32.
#include <iomanip>
#include <limits>
#include <numeric>

#include "backflow/engine/var.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Real inf = std::numeric_limits<Real>::infinity();
constexpr Real nan = std::numeric_limits<Real>::quiet_NaN();

template <class T>
std::string printed(const T& x) {
  std::ostringstream out;
  out << x;
  return out.str();
}

std::string printed(const std::vector<Real>& values) {
  return printed(Tensor({static_cast<Index>(values.size())}, values));
}

// 0, 1 / divisor, 2 / divisor, ...
Tensor counting(const Shape& shape, Real divisor = 1) {
  std::vector<Real> values(shape.size());
  std::iota(values.begin(), values.end(), Real(0));
  for (Real& value : values) value /= divisor;
  return {shape, values};
}

TEST(Print, AlignsNumbersAtTheirPoints) {
  EXPECT_EQ(printed({1, 2, 3}), "[1. 2. 3.]");
  EXPECT_EQ(printed({0, Real(-0.0)}), "[ 0. -0.]");
  EXPECT_EQ(printed({Real(0.123456789), -1}), "[ 0.12345679 -1.        ]");
  EXPECT_EQ(printed(Tensor({2, 2}, {1, 2, 3, 4})), "[[1. 2.]\n [3. 4.]]");
  EXPECT_EQ(printed(Tensor({2, 2}, {1.5, -2, 0.25, 100})), "[[  1.5   -2.  ]\n [  0.25 100.  ]]");
}

TEST(Print, ShowsTheDigitsThatTellANumberFromOthersButAtMostEight) {
  EXPECT_EQ(
      printed({Real(0.1), Real(0.2), Real(1) / 3}),
      in_double ? "[0.1        0.2        0.33333333]" : "[0.1        0.2        0.33333334]");
  EXPECT_EQ(printed({Real(1.000000001), 2}), "[1. 2.]");
  EXPECT_EQ(printed({Real(0.9999999999), 10}), "[ 1. 10.]");
  EXPECT_EQ(printed({Real(1) / 16384, 1}),
            in_double ? "[6.10351562e-05 1.00000000e+00]" : "[6.1035156e-05 1.0000000e+00]");
}

TEST(Print, TakesExponentsForLargeSmallAndVeryDifferentNumbers) {
  EXPECT_EQ(printed({1e10, 1}), "[1.e+10 1.e+00]");
  EXPECT_EQ(printed({1, 1000}), "[   1. 1000.]");
  EXPECT_EQ(printed({1, 1000.5}), "[1.0000e+00 1.0005e+03]");
  EXPECT_EQ(printed({9999999}), "[9999999.]");
  EXPECT_EQ(printed({1e8}), "[1.e+08]");
  EXPECT_EQ(printed({Real(1e-4), Real(1e-3)}), "[0.0001 0.001 ]");
  EXPECT_EQ(printed({Real(0.5e-4), 0}), "[5.e-05 0.e+00]");
#ifdef BACKFLOW_DOUBLE
  EXPECT_EQ(printed({99999999}), "[99999999.]");
  EXPECT_EQ(printed({1e100, 1}), "[1.e+100 1.e+000]");
  EXPECT_EQ(printed({5e-324, -1}), "[ 5.e-324 -1.e+000]");
#else
  EXPECT_EQ(printed({905355.88f, 46.45e6f, 4.4637456e8f}),
            "[9.0535588e+05 4.6450000e+07 4.4637456e+08]");
#endif
  EXPECT_EQ(printed({std::numeric_limits<Real>::max(), std::numeric_limits<Real>::lowest()}),
            in_double ? "[ 1.79769313e+308 -1.79769313e+308]" : "[ 3.4028235e+38 -3.4028235e+38]");
}

TEST(Print, NamesWhatIsNoNumber) {
  EXPECT_EQ(printed({nan, 1, -2.5}), "[ nan  1.  -2.5]");
  EXPECT_EQ(printed({nan, -inf, inf}), "[ nan -inf  inf]");
  EXPECT_EQ(printed({-nan}), "[nan]");
  EXPECT_EQ(printed({inf, Real(1e-9)}), "[   inf 1.e-09]");
}

TEST(Print, BreaksLinesAt75Columns) {
  EXPECT_EQ(printed(counting({25}, 8)),
            "[0.    0.125 0.25  0.375 0.5   0.625 0.75  0.875 1.    1.125 1.25  1.375\n"
            " 1.5   1.625 1.75  1.875 2.    2.125 2.25  2.375 2.5   2.625 2.75  2.875\n"
            " 3.   ]");
  EXPECT_EQ(printed(counting({1, 24})),
            "[[ 0.  1.  2.  3.  4.  5.  6.  7.  8.  9. 10. 11. 12. 13. 14. 15. 16. 17.\n"
            "  18. 19. 20. 21. 22. 23.]]");
}

TEST(Print, LeavesEmptyLinesBetweenMatrices) {
  EXPECT_EQ(printed(counting({2, 3, 2})),
            "[[[ 0.  1.]\n  [ 2.  3.]\n  [ 4.  5.]]\n\n [[ 6.  7.]\n  [ 8.  9.]\n  [10. 11.]]]");
  EXPECT_EQ(printed(Tensor::full({1, 1, 2, 1}, 1)), "[[[[1.]\n   [1.]]]]");
  EXPECT_EQ(printed(Tensor::full({2, 1, 1, 1}, 1)), "[[[[1.]]]\n\n\n [[[1.]]]]");
}

TEST(Print, SummarisesMoreThanAThousandElements) {
  EXPECT_EQ(printed(counting({1000})).find("..."), std::string::npos);
  EXPECT_EQ(printed(counting({1001})), "[   0.    1.    2. ...  998.  999. 1000.]");
  EXPECT_EQ(printed(counting({400, 3})),
            "[[0.000e+00 1.000e+00 2.000e+00]\n"
            " [3.000e+00 4.000e+00 5.000e+00]\n"
            " [6.000e+00 7.000e+00 8.000e+00]\n"
            " ...\n"
            " [1.191e+03 1.192e+03 1.193e+03]\n"
            " [1.194e+03 1.195e+03 1.196e+03]\n"
            " [1.197e+03 1.198e+03 1.199e+03]]");
  Tensor x = Tensor::full({2, 7, 80}, 1);
  x.set({0, 3, 0}, 1e30);  // what is left out has no part in the format
  EXPECT_EQ(printed(x),
            "[[[1. 1. 1. ... 1. 1. 1.]\n"
            "  [1. 1. 1. ... 1. 1. 1.]\n"
            "  [1. 1. 1. ... 1. 1. 1.]\n"
            "  ...\n"
            "  [1. 1. 1. ... 1. 1. 1.]\n"
            "  [1. 1. 1. ... 1. 1. 1.]\n"
            "  [1. 1. 1. ... 1. 1. 1.]]\n"
            "\n"
            " [[1. 1. 1. ... 1. 1. 1.]\n"
            "  [1. 1. 1. ... 1. 1. 1.]\n"
            "  [1. 1. 1. ... 1. 1. 1.]\n"
            "  ...\n"
            "  [1. 1. 1. ... 1. 1. 1.]\n"
            "  [1. 1. 1. ... 1. 1. 1.]\n"
            "  [1. 1. 1. ... 1. 1. 1.]]]");
}

TEST(Print, OfNothingAScalarAndAnUndefinedTensor) {
  EXPECT_EQ(printed(Tensor::empty({0, 3})), "[]");
  EXPECT_EQ(printed(Tensor::empty({2, 0})), "[]");
  EXPECT_EQ(printed(Tensor(2)), "2.");
  EXPECT_EQ(printed(Tensor(nan)), "nan");
  EXPECT_EQ(printed(Tensor()), "undefined");
  EXPECT_EQ(printed(Var()), "undefined");
}

TEST(Print, OfAVarIsItsValue) { EXPECT_EQ(printed(Var::leaf(Tensor({2}, {1, 2.5}))), "[1.  2.5]"); }

TEST(Print, HeedsNoStateOfTheStream) {
  std::ostringstream out;
  out << std::setprecision(2) << std::hex << std::showpos << Tensor({2}, {1, 1.2345});
  EXPECT_EQ(out.str(), "[1.     1.2345]");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
