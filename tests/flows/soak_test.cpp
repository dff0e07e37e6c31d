// Eight threads at once: on one flow, and each on its own.
#include <thread>

#include "backflow/engine/optimizer.h"
#include "backflow/flows/density.h"
#include "backflow/flows/elementwise/activations.h"
#include "backflow/flows/elementwise/spline.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/image/coupling.h"
#include "backflow/flows/image/preprocessing.h"
#include "backflow/flows/image/squeeze.h"
#include "backflow/flows/linear/conv1x1.h"
#include "backflow/flows/linear/conv_exponential.h"
#include "backflow/flows/linear/emerging.h"
#include "backflow/flows/linear/random_orthogonal.h"
#include "backflow/flows/linear/self_normalizing.h"
#include "backflow/flows/sequential.h"
#include "backflow/ops/conv.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr int users = 8;

// Calls f(user) on eight threads at once. An exception on any of them fails the test.
template <class F>
void on_eight_threads(const F& f) {
  std::vector<std::string> errors(users);
  std::vector<std::thread> all;
  for (int user = 0; user < users; ++user)
    all.emplace_back([&, user] { errors[user] = error_of([&] { f(user); }); });
  for (std::thread& one : all) one.join();
  for (const std::string& error : errors) EXPECT_EQ(error, "no error");
}

using Layers = std::vector<std::unique_ptr<Flow>>;

template <class F, class... Arguments>
void add(Layers& layers, Arguments&&... arguments) {
  layers.push_back(std::make_unique<F>(std::forward<Arguments>(arguments)...));
}

Tensor dirac(Index channels, Index size, std::uint64_t seed) {
  Tensor w = Random(seed).normal({channels, channels, size, size}) * 0.02;
  for (Index c = 0; c < channels; ++c)
    w.mutable_data()[((c * channels + c) * size + size / 2) * size + size / 2] += 1;
  return w;
}

ReconstructionOptions geco() {
  ReconstructionOptions options;
  options.geco_rate = 1e-3;
  return options;
}

// Every kind of layer for images of 8 x 8 that are dequantized: half of the channels leave early.
Layers image_layers(std::uint64_t seed) {
  Layers layers;
  add<Dequantization>(layers);
  add<Normalization>(layers, 0.0, 256.0);
  add<Normalization>(layers, -1e-3, 1 / (1 - 2e-3));
  add<Logit>(layers);
  add<Squeeze>(layers);
  add<ActNorm>(layers, 4);
  add<SelfNormalizing>(layers, dirac(4, 3, seed), flip_kernel(dirac(4, 3, seed)),
                       Tensor::zeros({4}), geco());
  add<SmoothLeakyReLU>(layers, 0.3);
  add<Exact>(layers, dirac(4, 3, seed + 1), Tensor::zeros({4}));
  add<LearnableLeakyReLU>(layers);
  add<Conv1x1>(layers, random_orthogonal(4, Random(seed)));
  add<HouseholderConv1x1>(layers, Random(seed).normal({3, 4}));
  add<ImageCoupling>(layers, 4, 8, Random(seed));
  add<SmoothTanh>(layers, 1.0, 0.5);
  add<Emerging>(layers, 4, Random(seed));
  add<ConvExponential>(layers, 4, 4, 4, Random(seed));
  add<SplineActivation>(layers, Random(seed).normal({1, 4, 4, 4, 5}) * 0.1,
                        Random(seed + 1).normal({1, 4, 4, 4, 5}) * 0.1,
                        Random(seed + 2).normal({1, 4, 4, 4, 4}) * 0.1);
  add<SplitPrior>(layers, 4, 8, Random(seed));
  return layers;
}

Layers vector_layers(std::uint64_t seed) {
  const auto near_identity = [](std::uint64_t seed) {
    return Tensor::identity(12) + Random(seed).normal({12, 12}) * 0.05;
  };
  Layers layers;
  add<Exact>(layers, near_identity(seed), Tensor::zeros({12}));
  add<LeakyReLU>(layers, 0.5);
  add<RelativeGradient>(layers, near_identity(seed + 1), Tensor::zeros({12}));
  add<SmoothLeakyReLU>(layers, 0.3);
  add<SelfNormalizing>(layers, near_identity(seed + 2), Tensor::identity(12), Tensor::zeros({12}));
  return layers;
}

struct Subject {
  Sequential flow;
  Density density;
  Shape example;

  Subject(Layers layers, const Shape& latent, const Shape& example)
      : flow(std::move(layers)), density(flow, latent), example(example) {}

  Tensor batch(Index count, std::uint64_t seed) const {
    Shape shape{count};
    for (Index size : example) shape.push_back(size);
    const Tensor x = Random(seed).uniform(shape);
    return example.rank() == 1 ? x : pointwise(x, [](Real u) { return std::floor(256 * u); });
  }
  Tensor objective(Index count, std::uint64_t seed, bool begun) const {
    Pass pass;
    pass.mode = Mode::train;
    pass.step_begun = begun;
    pass.noise = Random(seed);
    return density.objective(batch(count, seed), pass).value();
  }
};

std::unique_ptr<Subject> image_subject(std::uint64_t seed = 1) {
  return std::make_unique<Subject>(image_layers(seed), Shape{2, 4, 4}, Shape{1, 8, 8});
}
std::unique_ptr<Subject> vector_subject(std::uint64_t seed = 1) {
  return std::make_unique<Subject>(vector_layers(seed), Shape{12}, Shape{12});
}

using Values = std::vector<std::vector<Real>>;

Values state_of(const Flow& flow) {
  Values all;
  for (const auto& [name, parameter] : flow.parameters())
    all.push_back(parameter->value().values());
  for (const auto& [name, buffer] : flow.buffers()) all.push_back(buffer->values());
  return all;
}

// All that one can ask of a flow that stays as it is.
Values questions(const Subject& subject, int kind) {
  const Index count = 1 + kind % 3;
  const Tensor x = subject.batch(count, 10 + kind);
  Values answers;
  answers.push_back(subject.density.log_prob(x).values());
  for (const Inverse inverse : {Inverse::learned, Inverse::exact}) {
    Pass pass;
    pass.inverse = inverse;
    answers.push_back(subject.density.sample(count, Random(kind), 0.5, pass).values());
  }
  Pass pass;
  const Tensor z = subject.flow.forward(x, pass).z.value();
  answers.push_back(z.values());
  answers.push_back(subject.flow.inverse(z, pass).values());
  const Var leaf = Var::leaf(x);
  const Out out = subject.flow.forward(leaf);
  const Gradients gradients = backward(sum(out.z) + sum(out.logdet));
  for (const auto& [name, parameter] : subject.flow.parameters())
    answers.push_back(gradients[*parameter].values());
  answers.push_back(subject.objective(count, 20 + kind, true).values());
  return answers;
}

TEST(Soak, OneFlowAnswersEightThreads) {
  for (const auto& subject : {image_subject(), vector_subject()}) {
    subject->objective(4, 1, false);  // its first batch
    std::vector<Values> expected;
    for (int kind = 0; kind < 4; ++kind) expected.push_back(questions(*subject, kind));
    const Values state = state_of(subject->flow);
    for (const auto& [name, parameter] : subject->flow.parameters())
      parameter->update([](std::span<Real>) {});  // another version: all caches begin anew
    std::atomic<int> wrong = 0;
    on_eight_threads([&](int user) {
      for (int round = 0; round < 4; ++round) {
        const int kind = (user + round) % 4;
        wrong += questions(*subject, kind) != expected[kind];
      }
    });
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(state_of(subject->flow), state);
  }
}

TEST(Soak, OneLayerInvertsImagesOfSeveralSizes) {
  const Exact flow(dirac(3, 3, 1), Tensor::zeros({3}));
  const std::vector<Shape> shapes{{2, 3, 3, 3}, {1, 3, 4, 4}, {2, 3, 5, 2}};
  std::vector<std::vector<Real>> expected;
  for (const Shape& shape : shapes)
    expected.push_back(flow.inverse(Random(2).normal(shape)).values());
  std::atomic<int> wrong = 0;
  on_eight_threads([&](int user) {
    for (int round = 0; round < 60; ++round) {
      const std::size_t which = (user + round) % shapes.size();
      wrong += flow.inverse(Random(2).normal(shapes[which])).values() != expected[which];
    }
  });
  EXPECT_EQ(wrong, 0);
}

Values trained(Subject& subject, int user) {
  Adam adam(subject.flow.parameters());
  for (int step = 0; step < 4; ++step) {
    Pass pass;
    pass.mode = Mode::train;
    pass.noise = Random(user, Purpose{2}, static_cast<std::uint32_t>(step));
    Var loss = -mean(subject.density.objective(subject.batch(5, 100 * user + step), pass));
    for (const auto& [value, weight, adapt] : pass.losses) loss = loss + weight * value;
    adam.step(backward(loss), 1e-3);
    for (const auto& [value, weight, adapt] : pass.losses)
      if (adapt) adapt(value.item());
  }
  return state_of(subject.flow);
}

TEST(Soak, EightThreadsTrainAModelEach) {
  for (const auto make : {&image_subject, &vector_subject}) {
    std::vector<Values> alone(users), together(users);
    for (int user = 0; user < users; ++user) alone[user] = trained(*make(user), user);
    on_eight_threads([&](int user) { together[user] = trained(*make(user), user); });
    EXPECT_EQ(together, alone);
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
