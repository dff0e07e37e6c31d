// What holds for every flow with a square Jacobian, and small tools for tests of flows.
#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "backflow/flows/flow.h"
#include "backflow/ops/finite.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/jacobian.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {

inline std::vector<std::string> names_of(const Module& module) {
  std::vector<std::string> names;
  for (const auto& [name, parameter] : module.parameters()) names.push_back(name);
  return names;
}

inline void check_round_trip(const Flow& flow, const Tensor& x, Pass pass) {
  const Tensor z = flow.forward(x, pass).z.value(), again = flow.inverse(z, pass);
  ASSERT_EQ(again.size(), x.size());  // a linear flow flattens its examples
  expect_close(again.reshape(x.shape()), x, in_double ? 1e-9 : 1e-4, "inverse(forward(x))");
}

// Each example has a Jacobian of its own; that of one by another must be 0.
inline void check_logdet(const Flow& flow, const Tensor& x, Pass pass) {
  const Index B = x.size(0), D = x.size() / B;
  const auto flattened = [&](const Var& v) {
    Pass walk = pass;
    return reshape(flow.forward(reshape(v, x.shape()), walk).z, Shape{B * D});
  };
  const Tensor all = jacobian(flattened, x.reshape({B * D}));
  const Tensor logdet = flow.forward(x, pass).logdet.value();
  ASSERT_EQ(logdet.shape(), Shape{B});
  for (Index b = 0; b < B; ++b) {
    const Tensor rows = slice(all, 0, b * D, (b + 1) * D);
    for (Index i = 0; i < rows.size(); ++i)
      if (const Index other = i % (B * D) / D; other != b) {
        ASSERT_EQ(rows[i], 0) << "example " << b << " depends on example " << other;
      }
    const double expected = LU(slice(rows, 1, b * D, (b + 1) * D)).log_abs_det();
    EXPECT_NEAR(logdet[b], expected, (in_double ? 1e-8 : 1e-3) * std::max(1.0, std::abs(expected)))
        << "log|det| of the Jacobian of example " << b;
  }
}

// z and logdet as a function of the value of one parameter. A parameter keeps its identity, so the
// value is put into it for the time of the call, and its gradient is handed on to the argument.
inline VarFunction of_parameter(const Flow& flow, Parameter& p, const Tensor& x, const Pass& pass) {
  return [&flow, &p, x, pass](const std::vector<Var>& value) {
    const Tensor before = p.value();
    p.set(value[0].value());
    Pass walk = pass;
    const Out out = flow.forward(x, walk);
    p.set(before);
    const auto [z, logdet] =
        override_gradient("flow", {out.z.value(), out.logdet.value()}, {value[0]},
                          [out, &p](const Tensor& gz, const Tensor& gl) {
                            return grads(backward(sum(out.z * gz) + sum(out.logdet * gl))[p]);
                          });
    return std::vector{z, logdet};
  };
}

inline void check_gradients(const Flow& flow, const Tensor& x, const Pass& pass) {
  const VarFunction of_input = [&](const std::vector<Var>& in) {
    Pass walk = pass;
    const Out out = flow.forward(in[0], walk);
    return std::vector{out.z, out.logdet};
  };
  const auto of_x = gradcheck(of_input, {x});
  EXPECT_TRUE(of_x) << "the gradient of x: " << of_x.failure;
  for (const auto& [name, parameter] : flow.parameters()) {
    const Tensor value = parameter->value();
    const auto report = gradcheck(of_parameter(flow, *parameter, x, pass), {value});
    EXPECT_TRUE(report) << "the gradient of " << name << ": " << report.failure;
  }
}

inline void check_finite(const Flow& flow, const Tensor& x, Pass pass) {
  const Var leaf = Var::leaf(x);
  const Out out = flow.forward(leaf, pass);
  EXPECT_TRUE(all_finite(out.z.value())) << "z at extreme inputs";
  EXPECT_TRUE(all_finite(out.logdet.value())) << "logdet at extreme inputs";
  const Gradients gradients = backward(sum(out.z) + sum(out.logdet));
  EXPECT_TRUE(all_finite(gradients[leaf])) << "the gradient of extreme inputs";
  for (const auto& [name, parameter] : flow.parameters())
    EXPECT_TRUE(all_finite(gradients[*parameter])) << "the gradient of " << name;
}

// The inverse undoes forward(x), logdet is that of the Jacobian, the gradients of x and of every
// parameter agree with differences, and everything is finite at the extreme inputs.
inline void check_flow(const std::string& name, const Flow& flow, const Tensor& x,
                       const Tensor& extremes, const Pass& pass = {}) {
  std::ostringstream where;
  where << name << " at " << x.shape();
  SCOPED_TRACE(where.str());
  check_round_trip(flow, x, pass);
  check_logdet(flow, x, pass);
  check_gradients(flow, x, pass);
  check_finite(flow, extremes, pass);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
