// How the weights of a network begin: at random, as far from 0 as keeps the size of what passes
// through the layers, forward or back.
//
// Shapes are torch's: a weight is (out, in), or (out, in, K, L) for a convolution. So many values
// make one output, and so many outputs use one input:
//
//   fan_in = in K L,  fan_out = out K L
//
// Sources: Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural
// networks", AISTATS 2010; He et al., "Delving deep into rectifiers", ICCV 2015; Saxe et al.,
// "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks", ICLR
// 2014.
#pragma once

#include <array>
#include <functional>

#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

// {weight, bias} for a weight of this shape; the bias is (out). The numbers are those of the
// streams 0 and 1 of `random`. Each of the following fails for a weight of fewer than two axes or
// without values. Where nothing is said of it, the bias is 0.
using Initializer = std::function<std::array<Tensor, 2>(const Shape& weight, const Random& random)>;

// What torch's Linear and Conv2d begin with: weight and bias uniform within 1 / sqrt(fan_in). The
// weight's variance is 1 / (3 fan_in).
std::array<Tensor, 2> torch_default(const Shape& weight, const Random& random);

// Variance 2 / (fan_in + fan_out), for layers with tanh or nothing behind them: a compromise
// between keeping the values' size, 1 / fan_in, and their gradients', 1 / fan_out. Uniform within
// sqrt(6 / (fan_in + fan_out)), or normal.
std::array<Tensor, 2> glorot_uniform(const Shape& weight, const Random& random);
std::array<Tensor, 2> glorot_normal(const Shape& weight, const Random& random);

// Variance 2 / fan_in, for layers with a ReLU behind them, which takes half the squares away.
// Uniform within sqrt(6 / fan_in), or normal.
std::array<Tensor, 2> he_uniform(const Shape& weight, const Random& random);
std::array<Tensor, 2> he_normal(const Shape& weight, const Random& random);

// `gain` times a random matrix (out, fan_in) whose rows are orthonormal, or its columns where there
// are fewer of those: it keeps lengths (times gain) and angles. O(max(out, fan_in)^3).
Initializer orthogonal(double gain = 1);

}  // namespace backflow::inline BACKFLOW_PRECISION
