// Transforms of two numbers per element, h and m, with z and its log-derivative in one node.
// Internal to flows/transforms: no public header includes this one.
#pragma once

#include "backflow/flows/transforms/transform.h"
#include "backflow/ops/finite.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace scaling {

struct Outputs {
  Real z, log_slope;
};
struct ElementGradients {
  Real x, h, m;
};

// A function of one element is inlined, so that loops of it become vector instructions.
#define BACKFLOW_INLINED __attribute__((always_inline))

// f(x, h, m) gives Outputs and rule(x, h, m, gz, gl) ElementGradients, of one element.
template <class F, class G>
std::array<Var, 2> transform_elements(OpName op, const Var& x, const Var& p, F f, G rule) {
  const Tensor X = x.value(), P = p.value();
  Tensor z = Tensor::empty(X.shape()), log_slope = Tensor::empty(X.shape());
  for_each_element(X.size(), [f, x = X.data(), p = P.data(), z = z.mutable_data(),
                              l = log_slope.mutable_data()](Index i) BACKFLOW_INLINED {
    const Outputs out = f(x[i], p[2 * i], p[2 * i + 1]);
    z[i] = out.z;
    l[i] = out.log_slope;
  });
  return record(
      op, {z, log_slope}, joint_grad({x, p}, [X, P, rule](const Tensor& gz, const Tensor& gl) {
        Tensor gx = Tensor::empty(X.shape()), gp = Tensor::empty(P.shape());
        for_each_element(
            X.size(), [rule, x = X.data(), p = P.data(), gz = gz.data(), gl = gl.data(),
                       gx = gx.mutable_data(), gp = gp.mutable_data()](Index i) BACKFLOW_INLINED {
              const ElementGradients g = rule(x[i], p[2 * i], p[2 * i + 1], gz[i], gl[i]);
              gx[i] = g.x;
              gp[2 * i] = g.h;
              gp[2 * i + 1] = g.m;
            });
        return grads(gx, gp);
      }));
}

// f(z, h, m) gives x. Fails where a scale is so small that no x of a finite z is a number.
template <class F>
Tensor invert_elements(const char* op, const Tensor& z, const Tensor& p, F f) {
  Tensor x = Tensor::empty(z.shape());
  for_each_element(z.size(), [f, z = z.data(), p = p.data(), x = x.mutable_data()](Index i)
                                 BACKFLOW_INLINED { x[i] = f(z[i], p[2 * i], p[2 * i + 1]); });
  if (!all_finite(x) && all_finite(z) && all_finite(p))
    fail(op, "no x was found: a scale is too small to be undone");
  return x;
}

// What a form makes of h, log s for Affine, and its derivative by h.
struct LogScale {
  Real value, slope;
};

// A type for each form, so that loops have no branch.
struct Plain {
  BACKFLOW_INLINED LogScale operator()(Real h) const { return {h, 1}; }
};
struct Capped {
  BACKFLOW_INLINED LogScale operator()(Real h) const {
    const Real t = vector_math::tanh(h / cap);
    return {cap * t, 1 - t * t};
  }
  Real cap;
};

}  // namespace scaling
}  // namespace backflow::inline BACKFLOW_PRECISION
