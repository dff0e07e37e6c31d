// The loss and the score of a classifier: logits (B, K), a row for each example, and B labels, the
// numbers of the right classes, 0 to K - 1.
//
// Labels are integers, not a Tensor: they are counted and compared, and get no gradient. A label
// that is no class fails, with its number; so does a batch without examples, which has no mean.
#pragma once

#include <initializer_list>
#include <span>

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// -log softmax(logits)[label] in nats, the mean over the batch. The logits are shifted by the
// largest of their row, so that none overflows. Its gradient is (softmax(logits) - onehot) / B.
// NaN where the logits hold NaN or +inf; infinite where a label's logit is -inf.
Tensor cross_entropy(const Tensor& logits, std::span<const Index> labels);
Tensor cross_entropy(const Tensor& logits, std::initializer_list<Index> labels);
Var cross_entropy(const Var& logits, std::span<const Index> labels);
Var cross_entropy(const Var& logits, std::initializer_list<Index> labels);

// The fraction of the examples whose label has the largest logit: the first of them if several are
// the largest, as in argmax. An example with a NaN among its logits is counted as wrong.
double accuracy(const Tensor& logits, std::span<const Index> labels);
double accuracy(const Tensor& logits, std::initializer_list<Index> labels);

}  // namespace backflow::inline BACKFLOW_PRECISION
