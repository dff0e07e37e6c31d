// What a layer of a block neural autoregressive flow is made of (flows/autoregressive/block_naf.h).
#pragma once

#include "backflow/engine/record.h"
#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Of a layer whose inputs and outputs are D blocks, one per coordinate: W is (D o, D i). Output
// block d sees the input blocks e <= d,
//
//   V = e^W where e = d,   W where e < d,   0 where e > d,
//
// and each row is brought to the length e^s, s the row's log_scale (weight normalisation, as in
// Salimans & Kingma, NeurIPS 2016):
//
//   {e^s V / |row of V|, (D o, D i);  its logarithm in the blocks e = d, (D, o, i)}
//
// Neither overflows where W is large. log_scale has D o elements. Fails for other shapes.
std::array<Var, 2> block_weight(const Var& W, const Var& log_scale, Index D);

// {W, log_scale} as the authors' begin: the blocks that output block d sees uniform within
// sqrt(6 / (their inputs + o)), log_scale the logarithm of uniform numbers.
std::array<Tensor, 2> initial_block_weight(Index D, Index o, Index i, const Random& random);

// {tanh(a), log tanh'(a)}: the second is right where the first is 1 to all digits.
std::array<Var, 2> tanh_and_log_slope(const Var& a);

}  // namespace backflow::inline BACKFLOW_PRECISION
