// Elements lie side by side in vector lanes: the numbers of a block of them are turned around
// first, one row for each component. With r = 1 / (1 + e^-|c|) three exponentials of a component
// make its terms of all three sums, each behind the largest of its exponents:
//
//   S+ = sum_k e^(w + min(c, 0)) r    S- = sum_k e^(w - max(c, 0)) r    value = log S+ - log S-
//   T  = sum_k a e^(w - |c|) r^2      a the slope of c                  slope = T (1 / S+ + 1 / S-)
#include "backflow/ops/logistic_mixture.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "backflow/engine/parallel.h"
#include "backflow/ops/increasing.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Index lanes = 32;
constexpr char name[] = "logistic_mixture", inverse_name[] = "logistic_mixture_inverse";

// One number for each element of a block. T is Real, and double for the inverse.
template <class T>
struct alignas(64) Row {
  T at[lanes];
  T& operator[](Index i) { return at[i]; }
  const T& operator[](Index i) const { return at[i]; }
};

// `count` numbers, each `stride` behind the one before; the other lanes repeat the last one.
template <class T>
Row<T> load(const Real* from, Index stride, Index count) {
  Row<T> row;
  for (Index i = 0; i < lanes; ++i) row[i] = from[std::min(i, count - 1) * stride];
  return row;
}

template <class T>
void store(const Row<T>& row, Index count, Real* to, Index stride = 1) {
  for (Index i = 0; i < count; ++i) to[i * stride] = static_cast<Real>(row[i]);
}

template <class T>
void raise(Row<T>& top, const Row<T>& to) {
  for (Index i = 0; i < lanes; ++i) top[i] = to[i] > top[i] ? to[i] : top[i];
}

// ---- A block of mixtures ----------------------------------------------------------------------

template <class T>
class Block {
 public:
  // Of each component. The terms of the three sums come in two steps: their exponents, and they.
  enum Kind { u, v, w, slope, log_slope, c, plus, minus, rising, r, rest, kinds };

  Block(const MixtureForm& form, Index n)
      : form(form), n(n), rows_(std::make_unique_for_overwrite<Row<T>[]>(at(kinds, 0))) {}

  Row<T>& operator()(Kind kind, Index k) { return rows_[at(kind, k)]; }

  // The parameters of `count` elements, and what follows from them alone. The largest logit is
  // subtracted from all: it has no effect, and now there are digits left for c.
  void load(const Real* parameters, Index numbers, Index count) {
    for (Index i = 0; i < lanes; ++i) {
      const Real* from = parameters + std::min(i, count - 1) * numbers;
      for (Index j = 0; j < 3 * n; ++j) rows_[static_cast<std::size_t>(j)][i] = from[j];
    }
    Row<T> top = (*this)(w, 0);
    for (Index k = 0; k < n; ++k) raise(top, (*this)(w, k));
    for (Index k = 0; k < n; ++k) {
      Row<T>& logit = (*this)(w, k);
      for (Index i = 0; i < lanes; ++i) logit[i] -= top[i];
      sloped() ? find_softplus(k) : find_exponential(k);
    }
  }

  // The first three kinds, of `count` elements.
  void store(Index count, Real* to, Index numbers) const {
    for (Index i = 0; i < count; ++i)
      for (Index j = 0; j < 3 * n; ++j) to[i * numbers + j] = rows_[static_cast<std::size_t>(j)][i];
  }

  bool sloped() const { return form.component == MixtureForm::sloped; }

  const MixtureForm form;
  const Index n;  // components

 private:
  std::size_t at(Index kind, Index k) const { return static_cast<std::size_t>(kind * n + k); }

  // Where e^u is small and nothing is added to it, log a is u, though a may be 0.
  void find_softplus(Index k) {
    const T least = static_cast<T>(form.least_slope);
    const Row<T>& from = (*this)(u, k);
    Row<T>&a = (*this)(slope, k), &log_a = (*this)(log_slope, k);
    for (Index i = 0; i < lanes; ++i) {
      a[i] = vector_math::softplus(from[i]) + least;
      log_a[i] = least == 0 && from[i] < -40 ? from[i] : vector_math::log(a[i]);
    }
  }

  void find_exponential(Index k) {
    const T least = static_cast<T>(form.least_log_scale);
    const Row<T>& from = (*this)(u, k);
    Row<T>&a = (*this)(slope, k), &log_a = (*this)(log_slope, k);
    for (Index i = 0; i < lanes; ++i) {
      log_a[i] = -(from[i] < least ? least : from[i]);
      a[i] = vector_math::exp(log_a[i]);
    }
  }

  std::unique_ptr<Row<T>[]> rows_;
};

// The sums, and the exponents behind which they stand.
template <class T>
struct Sums {
  Row<T> plus_top, minus_top, rising_top, plus, minus, rising;
};

// The largest numbers are cut off, lest an infinity be subtracted from another.
template <class T>
void find_c(Block<T>& b, Index k, const Row<T>& x) {
  constexpr T most = std::numeric_limits<T>::max() / 8;
  const Row<T>&a = b(b.slope, k), &v = b(b.v, k);
  Row<T>& c = b(b.c, k);
  if (b.sloped())
    for (Index i = 0; i < lanes; ++i) c[i] = vector_math::multiply_add(a[i], x[i], v[i]);
  else
    for (Index i = 0; i < lanes; ++i) c[i] = a[i] * (x[i] - v[i]);
  for (Index i = 0; i < lanes; ++i) {
    const T below = c[i] > most ? most : c[i];
    c[i] = below < -most ? -most : below;
  }
}

template <class T>
void find_exponents(Block<T>& b, Index k, Sums<T>& s) {
  const Row<T>&w = b(b.w, k), &c = b(b.c, k);
  Row<T>&plus = b(b.plus, k), &minus = b(b.minus, k);
  for (Index i = 0; i < lanes; ++i) {
    plus[i] = w[i] + (c[i] < 0 ? c[i] : T(0));
    minus[i] = w[i] - (c[i] < 0 ? T(0) : c[i]);
  }
  if (k == 0) s.plus_top = plus, s.minus_top = minus;
  raise(s.plus_top, plus);
  raise(s.minus_top, minus);
}

// That of T, less the smaller of the other two sums'. Where all c have one sign, the difference of
// large numbers comes out exactly, and the slope's logarithm keeps its digits.
template <class T>
void find_rising_exponent(Block<T>& b, Index k, Sums<T>& s) {
  const Row<T>&plus = b(b.plus, k), &minus = b(b.minus, k), &c = b(b.c, k);
  const Row<T>& log_a = b(b.log_slope, k);
  Row<T>& rising = b(b.rising, k);
  for (Index i = 0; i < lanes; ++i) {
    const T low = std::min(s.plus_top[i], s.minus_top[i]);
    rising[i] = (c[i] < 0 ? plus[i] : minus[i]) - low + log_a[i];
  }
  if (k == 0) s.rising_top = rising;
  raise(s.rising_top, rising);
}

template <class T>
void add_terms(Block<T>& b, Index k, Sums<T>& s) {
  const Row<T>& c = b(b.c, k);
  Row<T>&plus = b(b.plus, k), &minus = b(b.minus, k), &rising = b(b.rising, k);
  Row<T>&r = b(b.r, k), &rest = b(b.rest, k);
  for (Index i = 0; i < lanes; ++i) {
    const T e = vector_math::exp(-std::abs(c[i]));
    r[i] = 1 / (1 + e);
    rest[i] = e * r[i];
    s.plus[i] += plus[i] = r[i] * vector_math::exp(plus[i] - s.plus_top[i]);
    s.minus[i] += minus[i] = r[i] * vector_math::exp(minus[i] - s.minus_top[i]);
    s.rising[i] += rising[i] = r[i] * r[i] * vector_math::exp(rising[i] - s.rising_top[i]);
  }
}

template <class T>
Sums<T> sums_at(Block<T>& b, const Row<T>& x) {
  Sums<T> s;
  s.plus = s.minus = s.rising = {};
  for (Index k = 0; k < b.n; ++k) {
    find_c(b, k, x);
    find_exponents(b, k, s);
  }
  for (Index k = 0; k < b.n; ++k) find_rising_exponent(b, k, s);
  for (Index k = 0; k < b.n; ++k) add_terms(b, k, s);
  return s;
}

template <class T>
struct Outputs {
  Row<T> value, log_derivative;
};

template <class T>
Outputs<T> outputs_of(const Sums<T>& s) {
  Outputs<T> out;
  for (Index i = 0; i < lanes; ++i) {
    const T plus = s.plus[i], minus = s.minus[i];
    const T low = std::min(s.plus_top[i], s.minus_top[i]);
    const T both = vector_math::exp(low - s.plus_top[i]) / plus +
                   vector_math::exp(low - s.minus_top[i]) / minus;
    out.value[i] = s.plus_top[i] - s.minus_top[i] + vector_math::log(plus / minus);
    out.log_derivative[i] = s.rising_top[i] + vector_math::log(s.rising[i] * both);
  }
  return out;
}

// ---- The gradient -----------------------------------------------------------------------------

// With the softmaxes P+, P- and P of the three logsumexps, the gradients of w and c are
//
//   of the value z         P+ - P-                              P+ sigmoid(-c) + P- sigmoid(c)
//   of the log-derivative  P - P+ sigmoid(-z) - P- sigmoid(z)   P (sigmoid(-c) - sigmoid(c))
//                                                                 - P+ sigmoid(-c) + P- sigmoid(c)
//
// and that of log a is P.
struct Gradients {
  Row<Real> w, c, log_slope;
};

// What is the same for all components: gradients of the outputs, and sums of them.
struct Seeds {
  Seeds(const Outputs<Real>& g, const Row<Real>& z) : log_derivative(g.log_derivative) {
    for (Index i = 0; i < lanes; ++i) {
      const Real gz = g.value[i], gl = g.log_derivative[i];
      difference[i] = gz - gl, sum[i] = gz + gl;
      plus[i] = gz - gl * vector_math::sigmoid(-z[i]);
      minus[i] = gz + gl * vector_math::sigmoid(z[i]);
    }
  }
  Row<Real> log_derivative, difference, sum, plus, minus;
};

Gradients gradients_of(Block<Real>& b, Index k, const Sums<Real>& s, const Seeds& g) {
  const Row<Real>&plus = b(b.plus, k), &minus = b(b.minus, k), &rising = b(b.rising, k);
  const Row<Real>&c = b(b.c, k), &r = b(b.r, k), &rest = b(b.rest, k);
  Gradients to;
  for (Index i = 0; i < lanes; ++i) {
    const Real up = plus[i] / s.plus[i], down = minus[i] / s.minus[i];
    const Real below = c[i] < 0 ? r[i] : rest[i], above = c[i] < 0 ? rest[i] : r[i];
    const Real rise = g.log_derivative[i] * (rising[i] / s.rising[i]);
    to.log_slope[i] = rise;
    to.w[i] = rise + up * g.plus[i] - down * g.minus[i];
    to.c[i] = rise * (below - above) + up * below * g.difference[i] + down * above * g.sum[i];
  }
  return to;
}

// Those of u and v; they take the places of u and v.
void chain_sloped(Block<Real>& b, Index k, const Row<Real>& x, const Gradients& g) {
  const Real least = static_cast<Real>(b.form.least_slope);
  const Row<Real>& a = b(b.slope, k);
  Row<Real>&u = b(b.u, k), &v = b(b.v, k);
  for (Index i = 0; i < lanes; ++i) {
    const Real sigmoid = vector_math::sigmoid(u[i]);  // the softplus' derivative
    const Real of_log = least == 0 && u[i] < -40 ? Real(1) : sigmoid / a[i];
    u[i] = g.c[i] * x[i] * sigmoid + g.log_slope[i] * of_log;
    v[i] = g.c[i];
  }
}

void chain_located(Block<Real>& b, Index k, const Row<Real>& x, const Gradients& g) {
  const Real least = static_cast<Real>(b.form.least_log_scale);
  const Row<Real>& a = b(b.slope, k);
  Row<Real>&u = b(b.u, k), &v = b(b.v, k);
  for (Index i = 0; i < lanes; ++i) {
    const Real of_scale = -(g.c[i] * (a[i] * (x[i] - v[i])) + g.log_slope[i]);
    u[i] = u[i] < least ? Real(0) : of_scale;
    v[i] = -g.c[i] * a[i];
  }
}

// Leaves the gradients of u, v and w in their rows; returns that of x.
Row<Real> walk_back(Block<Real>& b, const Row<Real>& x, const Sums<Real>& s, const Seeds& seeds) {
  Row<Real> gx{};
  for (Index k = 0; k < b.n; ++k) {
    const Gradients g = gradients_of(b, k, s, seeds);
    const Row<Real>& a = b(b.slope, k);
    for (Index i = 0; i < lanes; ++i) gx[i] += g.c[i] * a[i];
    b.sloped() ? chain_sloped(b, k, x, g) : chain_located(b, k, x, g);
    b(b.w, k) = g.w;
  }
  return gx;
}

// ---- The walk over all elements ---------------------------------------------------------------

// How the elements lie in memory.
struct Layout {
  Layout(const char* op, const Shape& x, const Shape& parameters, const MixtureForm& form)
      : form(form), elements(x.size()), numbers(parameters.rank() > 0 ? parameters[-1] : 0) {
    const Index others = form.affine ? 2 : 0;
    if (!(form.cap > 0)) fail(op, "the cap must be positive, got ", form.cap);
    if (!(form.least_slope >= 0 && std::isfinite(form.least_slope)))
      fail(op, "the least slope must be at least 0 and finite, got ", form.least_slope);
    n = (numbers - others) / 3;
    Shape expected = x;
    if (x.rank() < Shape::max_rank) expected.push_back(numbers);
    if (n < 1 || numbers != 3 * n + others || !(parameters == expected))
      fail(op, "for x of ", x, " the parameters of n components must be (..., 3 n",
           form.affine ? " + 2" : "", "); they are ", parameters);
  }

  // body(first element, count, block) for each block, in parallel. An element of the inverse, in
  // double, takes the time of many others.
  template <class T, class Body>
  void for_each_block(bool inverse, const Body& body) const {
    const Index grain = inverse ? lanes : lanes * std::max<Index>(1, 128 / n);
    parallel_for(elements, grain, [&](Index first, Index end) {
      Block<T> block(form, n);
      for (; first < end; first += lanes) body(first, std::min(lanes, end - first), block);
    });
  }

  MixtureForm form;
  Index elements, numbers, n = 0;  // numbers: of an element's parameters; n: components
};

// a within the cap, and its derivative by a.
template <class T>
std::array<T, 2> capped(T a, double cap) {
  if (std::isinf(cap)) return {a, T(1)};
  const T t = vector_math::tanh(a / static_cast<T>(cap));
  return {static_cast<T>(cap) * t, 1 - t * t};
}

// The two numbers of the affine map behind the mixture.
struct Affine {
  Affine(const Layout& l, const Real* parameters, Index count)
      : log_scale(load<Real>(parameters + 3 * l.n, l.numbers, count)),
        shift(load<Real>(parameters + 3 * l.n + 1, l.numbers, count)) {
    for (Index i = 0; i < lanes; ++i) {
      const auto [value, derivative] = capped(log_scale[i], l.form.cap);
      log_scale[i] = value;
      slope[i] = derivative;
    }
  }

  void apply(Outputs<Real>& out) const {
    for (Index i = 0; i < lanes; ++i) {
      const Real scale = vector_math::exp(log_scale[i]);
      out.value[i] = vector_math::multiply_add(scale, out.value[i], shift[i]);
      out.log_derivative[i] += log_scale[i];
    }
  }

  // From the gradients of the map's outputs to those of the mixture's, z among them. Those of its
  // own two numbers stay in it.
  void walk_back(const Row<Real>& z, Outputs<Real>& g) {
    shift = g.value;
    for (Index i = 0; i < lanes; ++i) {
      g.value[i] *= vector_math::exp(log_scale[i]);
      log_scale[i] = slope[i] * (g.value[i] * z[i] + g.log_derivative[i]);
    }
  }

  Row<Real> log_scale, shift, slope;  // the last: of the log-scale, by a
};

void forward_block(const Layout& l, Block<Real>& block, Index count, const Real* x,
                   const Real* parameters, Real* value, Real* log_derivative) {
  const Row<Real> X = load<Real>(x, 1, count);
  block.load(parameters, l.numbers, count);
  Outputs<Real> out = outputs_of(sums_at(block, X));
  for (Index i = 0; i < lanes; ++i) out.value[i] = std::isinf(X[i]) ? X[i] : out.value[i];
  if (l.form.affine) Affine(l, parameters, count).apply(out);
  store(out.value, count, value);
  store(out.log_derivative, count, log_derivative);
}

// A block's inputs, the gradients of its outputs, and where those of the inputs go.
struct Backward {
  const Real *x, *parameters, *value, *log_derivative;
  Real *gx, *gp;
  Backward at(Index first, Index numbers) const {
    return {x + first,  parameters + first * numbers, value + first, log_derivative + first,
            gx + first, gp + first * numbers};
  }
};

void backward_block(const Layout& l, Block<Real>& block, Index count, const Backward& from) {
  const Row<Real> x = load<Real>(from.x, 1, count);
  block.load(from.parameters, l.numbers, count);
  const Sums<Real> sums = sums_at(block, x);
  const Row<Real> z = outputs_of(sums).value;
  Outputs<Real> g{load<Real>(from.value, 1, count), load<Real>(from.log_derivative, 1, count)};
  if (l.form.affine) {
    Affine affine(l, from.parameters, count);
    affine.walk_back(z, g);
    store(affine.log_scale, count, from.gp + 3 * l.n, l.numbers);
    store(affine.shift, count, from.gp + 3 * l.n + 1, l.numbers);
  }
  store(walk_back(block, x, sums, Seeds(g, z)), count, from.gx);
  block.store(count, from.gp, l.numbers);
}

// ---- The inverse ------------------------------------------------------------------------------

// By itself component k would have its root where c_k = z. The mixture's lies between the least and
// the greatest of these.
Interval bracket(Block<double>& b, Index i, double z) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  Interval found{infinity, -infinity};
  for (Index k = 0; k < b.n; ++k) {
    const double a = b(b.slope, k)[i], v = b(b.v, k)[i];
    const double root = b.sloped() ? (z - v) / a : z / a + v;
    found.low = root < found.low ? root : found.low;  // NaN, where a is 0, is left out
    found.high = root > found.high ? root : found.high;
  }
  return found.low <= found.high ? found : Interval{};
}

void inverse_block(const Layout& l, Block<double>& block, Index count, const Real* value,
                   const Real* parameters, Real* to) {
  block.load(parameters, l.numbers, count);
  std::vector<RootSearch<double>> searches;
  for (Index i = 0; i < count; ++i) {
    const Real* affine = parameters + i * l.numbers + 3 * l.n;
    double z = value[i];
    if (l.form.affine) z = (z - affine[1]) * std::exp(-capped<double>(affine[0], l.form.cap)[0]);
    searches.emplace_back(inverse_name, bracket(block, i, z), z);
  }
  const auto solved = [](const auto& search) { return search.solved(); };
  Row<double> x{};
  while (!std::ranges::all_of(searches, solved)) {
    for (Index i = 0; i < count; ++i) x[i] = searches[i].x();
    const Outputs<double> at = outputs_of(sums_at(block, x));
    for (Index i = 0; i < count; ++i)
      if (!searches[i].solved()) searches[i].tell(at.value[i], std::exp(at.log_derivative[i]));
  }
  for (Index i = 0; i < count; ++i) to[i] = static_cast<Real>(searches[i].x());
}

}  // namespace

std::array<Var, 2> logistic_mixture(const Var& x, const Var& parameters, const MixtureForm& form) {
  const Layout l(name, x.shape(), parameters.shape(), form);
  const Tensor X = x.value(), P = parameters.value();
  Tensor value = Tensor::empty(X.shape()), log_derivative = Tensor::empty(X.shape());
  Real *v = value.mutable_data(), *d = log_derivative.mutable_data();
  l.for_each_block<Real>(false, [&](Index first, Index count, Block<Real>& block) {
    forward_block(l, block, count, X.data() + first, P.data() + first * l.numbers, v + first,
                  d + first);
  });
  const auto rule = [=](const Tensor& g_value, const Tensor& g_log) {
    Tensor gx = Tensor::empty(X.shape()), gp = Tensor::empty(P.shape());
    const Backward all{X.data(),     P.data(),          g_value.data(),
                       g_log.data(), gx.mutable_data(), gp.mutable_data()};
    l.for_each_block<Real>(false, [&](Index first, Index count, Block<Real>& block) {
      backward_block(l, block, count, all.at(first, l.numbers));
    });
    return grads(gx, gp);
  };
  return record(name, {value, log_derivative}, joint_grad({x, parameters}, rule));
}

Tensor logistic_mixture_inverse(const Tensor& z, const Tensor& parameters,
                                const MixtureForm& form) {
  const Layout l(inverse_name, z.shape(), parameters.shape(), form);
  Tensor x = Tensor::empty(z.shape());
  l.for_each_block<double>(true, [&, Z = z.data(), P = parameters.data(), to = x.mutable_data()](
                                     Index first, Index count, Block<double>& block) {
    inverse_block(l, block, count, Z + first, P + first * l.numbers, to + first);
  });
  return x;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
