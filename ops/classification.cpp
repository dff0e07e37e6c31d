#include "backflow/ops/classification.h"

#include <cmath>

#include "backflow/engine/parallel.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

void check(const char* op, const Tensor& logits, std::span<const Index> labels) {
  logits.data();  // fails if they are undefined
  const Shape& shape = logits.shape();
  if (shape.rank() != 2) fail(op, "logits (B, K) expected, the shape is ", shape);
  if (std::ssize(labels) != shape[0])
    fail(op, labels.size(), " labels for logits of the shape ", shape, ", expected ", shape[0]);
  if (shape[0] == 0) fail(op, "no examples in logits of the shape ", shape);
  for (Index i = 0; i < shape[0]; ++i)
    if (labels[i] < 0 || labels[i] >= shape[1])
      fail(op, "label ", i, " is ", labels[i], ", expected a class of 0 to ", shape[1] - 1,
           " for logits of the shape ", shape);
}

// Calls row(i) for every example.
template <class Row>
void for_each_example(const Shape& logits, const Row& row) {
  parallel_for(logits[0], 1 + elements_per_chunk / logits[1], [&](Index i, Index end) {
    for (; i < end; ++i) row(i);
  });
}

// Makes a row of logits a row of probabilities; returns -log of that of the label.
double to_probabilities(const Real* logits, Index K, Index label, Real* p) {
  Real top = logits[0];
  for (Index k = 1; k < K; ++k) top = logits[k] > top ? logits[k] : top;  // NaN comes back in p
  for (Index k = 0; k < K; ++k) p[k] = vector_math::exp(logits[k] - top);
  const double total = sum_in_lanes(K, [p](Index k) { return p[k]; });
  const Real scale = static_cast<Real>(1 / total);
  for (Index k = 0; k < K; ++k) p[k] *= scale;
  return std::log(total) - (static_cast<double>(logits[label]) - static_cast<double>(top));
}

// The mean loss; `probabilities` are uninitialised, and of the logits' shape.
Real mean_loss(const Tensor& logits, std::span<const Index> labels, Tensor& probabilities) {
  const Index B = logits.size(0), K = logits.size(1);
  std::vector<double> losses(B);
  for_each_example(logits.shape(),
                   [&, x = logits.data(), p = probabilities.mutable_data()](Index i) {
                     losses[i] = to_probabilities(x + i * K, K, labels[i], p + i * K);
                   });
  return static_cast<Real>(sum_in_lanes(B, [&](Index i) { return losses[i]; }) / B);
}

std::span<const Index> span_of(std::initializer_list<Index> labels) {
  return {labels.begin(), labels.size()};
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, std::span<const Index> labels) {
  check("cross_entropy", logits, labels);
  Tensor probabilities = Tensor::empty(logits.shape());
  return mean_loss(logits, labels, probabilities);
}

Var cross_entropy(const Var& logits, std::span<const Index> labels) {
  check("cross_entropy", logits.value(), labels);
  Tensor probabilities = Tensor::empty(logits.shape());
  const Tensor loss = mean_loss(logits.value(), labels, probabilities);
  const auto rule = [p = probabilities,
                     label = std::vector(labels.begin(), labels.end())](const Tensor& g) {
    Tensor out = Tensor::empty(p.shape());
    const Index K = p.size(1);
    const Real scale = g.item() / static_cast<Real>(p.size(0));
    for_each_example(p.shape(), [&, from = p.data(), to = out.mutable_data()](Index i) {
      for (Index k = i * K; k < (i + 1) * K; ++k) to[k] = from[k] * scale;
      const Index at = i * K + label[i];
      to[at] = (from[at] - 1) * scale;
    });
    return out;
  };
  return record("cross_entropy", loss, grad(logits, rule));
}

double accuracy(const Tensor& logits, std::span<const Index> labels) {
  check("accuracy", logits, labels);
  const Index B = logits.size(0), K = logits.size(1);
  Index right = 0;
  for (Index i = 0; i < B; ++i) {
    const Real* const row = logits.data() + i * K;
    const Index label = labels[i];
    bool best = row[label] == row[label];  // no comparison with NaN is true
    for (Index k = 0; k < K; ++k)
      best &= k < label ? row[k] < row[label] : k == label || row[k] <= row[label];
    right += best;
  }
  return static_cast<double>(right) / static_cast<double>(B);
}

Tensor cross_entropy(const Tensor& logits, std::initializer_list<Index> labels) {
  return cross_entropy(logits, span_of(labels));
}
Var cross_entropy(const Var& logits, std::initializer_list<Index> labels) {
  return cross_entropy(logits, span_of(labels));
}
double accuracy(const Tensor& logits, std::initializer_list<Index> labels) {
  return accuracy(logits, span_of(labels));
}

}  // namespace backflow::inline BACKFLOW_PRECISION
