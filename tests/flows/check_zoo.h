// More that holds for the flows of vectors: random parameters, the inverse with its gradients, a
// context, batches cut into single examples, and any number of threads.
#pragma once

#include "backflow/tests/flows/check_flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Far from where flows begin, which is often the identity, where mistakes do not show.
inline void randomize(const Module& module, const Random& random, double scale = 0.5) {
  std::uint32_t stream = 0;
  for (const auto& [name, parameter] : module.parameters()) {
    const Tensor numbers = random.stream(stream++).normal({1, parameter->value().size()});
    parameter->set(numbers.reshape(parameter->shape()) * static_cast<Real>(scale));
  }
}

// Borrows a flow and walks it backward, with inverse_recorded().
struct Backward : Flow {
  explicit Backward(Flow& flow) : flow(flow) { add_module("flow", flow); }
  Out forward(const Var& z, Pass& pass) const override { return flow.inverse_recorded(z, pass); }
  Tensor inverse(const Tensor& x, Pass& pass) const override {
    return flow.forward(x, pass).z.value();
  }
  Flow& flow;
};

inline void check_recorded_inverse(Flow& flow, const Tensor& x, Pass pass = {}) {
  SCOPED_TRACE("inverse_recorded()");
  const Out there = flow.forward(x, pass);
  const Out back = flow.inverse_recorded(there.z, pass);
  expect_close(back.z.value(), x, in_double ? 1e-9 : 1e-3, "x");
  expect_close(-back.logdet.value(), there.logdet.value(), in_double ? 1e-9 : 1e-3, "-logdet");
  const Backward backward(flow);
  check_logdet(backward, there.z.value(), pass);
  check_gradients(backward, there.z.value(), pass);
}

// The gradient of the context, and that it reaches every output of every example.
inline void check_context_gradient(const Flow& flow, const Tensor& x, const Tensor& context) {
  const VarFunction of_context = [&](const std::vector<Var>& in) {
    Pass pass;
    pass.context = in[0];
    const Out out = flow.forward(x, pass);
    return std::vector{out.z, out.logdet};
  };
  const auto report = gradcheck(of_context, {context});
  EXPECT_TRUE(report) << "the gradient of the context: " << report.failure;
  const Index D = x.size(1), C = context.size(1);
  for (Index b = 0; b < x.size(0); ++b) {
    const Tensor example = slice(x, 0, b, b + 1);
    const auto f = [&](const Var& c) {
      Pass pass;
      pass.context = c;
      return reshape(flow.forward(example, pass).z, Shape{D});
    };
    const Tensor J = jacobian(f, slice(context, 0, b, b + 1)).reshape({D, C});
    for (Index i = 0; i < D; ++i) {
      double reached = 0;
      for (Index c = 0; c < C; ++c) reached += std::abs(double{J.at({i, c})});
      EXPECT_GT(reached, 0) << "the context does not reach output " << i << " of example " << b;
    }
  }
}

// A flow of contexts of width C fails without one, and for one of another width or batch.
inline void check_context_rules(const Flow& flow, const Tensor& x, Index C) {
  EXPECT_EQ(flow.context(), C);
  const Index B = x.size(0);
  const auto walk = [&](const Tensor& context) {
    Pass pass;
    if (context.defined()) pass.context = context;
    return error_of([&] { flow.forward(x, pass); }) + error_of([&] { flow.inverse(x, pass); }) +
           error_of([&] { flow.inverse_recorded(x, pass); });
  };
  const auto failures = [](const std::string& line) {
    return line.find("no error") == std::string::npos;
  };
  EXPECT_TRUE(failures(walk(Tensor()))) << walk(Tensor());
  EXPECT_TRUE(failures(walk(Tensor::zeros({B, C + 1})))) << walk(Tensor::zeros({B, C + 1}));
  EXPECT_TRUE(failures(walk(Tensor::zeros({B + 1, C})))) << walk(Tensor::zeros({B + 1, C}));
  EXPECT_EQ(walk(Tensor::zeros({B, C})), "no errorno errorno error");
}

inline void check_takes_no_context(const Flow& flow, const Tensor& x) {
  Pass pass;
  pass.context = Tensor::zeros({x.size(0), 2});
  EXPECT_EQ(flow.context(), 0);
  EXPECT_NE(error_of([&] { flow.forward(x, pass); }).find("without a context"), std::string::npos);
  EXPECT_NE(error_of([&] { flow.inverse(x, pass); }).find("without a context"), std::string::npos);
}

inline void check_batches_of_one(const Flow& flow, const Tensor& x, const Pass& pass = {}) {
  Pass walk = pass;
  const double tolerance = in_double ? 1e-12 : 1e-5;
  const Out all = flow.forward(x, walk);
  const Tensor back = flow.inverse(all.z.value(), walk);
  for (Index b = 0; b < x.size(0); ++b) {
    const auto row = [b](const Tensor& of) { return slice(of, 0, b, b + 1); };
    Pass one = pass;
    if (pass.context.value().defined()) one.context = row(pass.context.value());
    const Out out = flow.forward(row(x), one);
    expect_close(out.z.value(), row(all.z.value()), tolerance, "z of one example");
    expect_close(out.logdet.value(), row(all.logdet.value()), tolerance, "logdet of one example");
    expect_close(flow.inverse(row(all.z.value()), one), row(back), tolerance, "x of one example");
  }
}

inline void check_threads(const Flow& flow, const Tensor& x, const Pass& pass = {}) {
  expect_same_bits_on_any_threads([&] {
    Pass walk = pass;
    const Var leaf = Var::leaf(x);
    const Out out = flow.forward(leaf, walk);
    const Gradients gradients = backward(sum(out.z) + sum(out.logdet));
    std::vector<Tensor> all{out.z.value(), out.logdet.value(), flow.inverse(out.z.value(), walk),
                            gradients[leaf]};
    for (const auto& [name, parameter] : flow.parameters()) all.push_back(gradients[*parameter]);
    return all;
  });
}

// Random weights as large as keeps the size of what passes through a network, times a half. With
// larger ones, eight layers of scales up to e^3 lose more digits than floats have: at three
// quarters a round trip of Real NVP at D = 64 comes back within 0.04.
inline void randomize_by_fan_in(const Module& module, const Random& random) {
  randomize(module, random);
  for (const auto& [name, parameter] : module.parameters()) {
    const Shape& shape = parameter->shape();
    const double fan_in = shape.rank() == 2 ? static_cast<double>(shape[1]) : 4;
    parameter->set(parameter->value() * static_cast<Real>(1 / std::sqrt(fan_in)));
  }
}

// What holds for a flow that was built with a context as wide as this one.
inline void check_with_context(const Flow& flow, const Tensor& x, const Tensor& context) {
  check_context_rules(flow, x, context.size(1));
  check_context_gradient(flow, x, context);
  Pass pass;
  pass.context = context;
  check_round_trip(flow, x, pass);
  check_batches_of_one(flow, x, pass);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
