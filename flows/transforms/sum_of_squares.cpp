#include "backflow/flows/transforms/sum_of_squares.h"

#include <cmath>

#include "backflow/ops/pointwise.h"
#include "backflow/ops/polynomial.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

static void check(const SumOfSquaresOptions& options) {
  if (options.polynomials < 1)
    fail("sum_of_squares", "at least one polynomial expected, got ", options.polynomials);
  if (options.degree < 0 || options.degree > 15)
    fail("sum_of_squares", "a degree from 0 to 15 expected, got ", options.degree);
  if (!(options.unit > 0 && std::isfinite(options.unit)))
    fail("sum_of_squares", "the unit must be positive and finite, got ", options.unit);
  if (!(options.floor >= 0 && std::isfinite(options.floor)))
    fail("sum_of_squares", "the floor must be at least 0 and finite, got ", options.floor);
}

SumOfSquares::SumOfSquares(const SumOfSquaresOptions& options) : options_(options) {
  check(options);
  const Index terms = options.degree + 1, n = options.polynomials * terms;
  const double mean = 1 / std::sqrt(static_cast<double>(options.polynomials));
  scale_ = Tensor::empty({n});
  one_ = Tensor::empty({n});
  for (Index i = 0; i < n; ++i) {
    const Index l = i % terms;
    scale_.mutable_data()[i] =
        static_cast<Real>(mean * std::pow(options.unit, -static_cast<double>(l)));
    one_.mutable_data()[i] = static_cast<Real>(l == 0 ? mean : 0);
  }
}

Index SumOfSquares::parameters() const { return 1 + scale_.size(); }

SumOfSquares::Parts SumOfSquares::parts(const Shape& x, const Var& p) const {
  check_parameters("sum_of_squares", *this, x, p.shape());
  const Var a = slice(p, 2, 1, parameters()) * scale_ + one_;
  return {reshape(slice(p, 2, 0, 1), x),
          reshape(a, Shape{x[0], x[1], options_.polynomials, options_.degree + 1})};
}

std::array<Var, 2> SumOfSquares::forward(const Var& x, const Var& p) const {
  const auto [shift, a] = parts(x.shape(), p);
  const auto [value, log_slope] = sum_of_squares(x, a, options_.floor);
  return {shift + value, log_slope};
}

Tensor SumOfSquares::inverse(const Tensor& z, const Tensor& p) const {
  const NoGrad no_grad;
  const auto [shift, a] = parts(z.shape(), p);
  return sum_of_squares_inverse(z - shift.value(), a.value(), options_.floor);
}

Tensor SumOfSquares::initial(const Random& random) const {
  Tensor p = random.normal({1, parameters()}).reshape({parameters()}) * Real(0.1);
  p.mutable_data()[0] = 0;
  return p;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
