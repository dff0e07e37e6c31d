// MADE (Germain, Gregor, Murray & Larochelle, "MADE: Masked Autoencoder for Distribution
// Estimation", ICML 2015): a network whose output for each coordinate depends only on the
// coordinates that come before it.
//
// Every unit has a degree, and reads only units of lesser or equal degrees:
//
//   input, coordinate at place t = 0, 1, ...   t + 1
//   hidden unit                                0 ... D: it depends on that many coordinates
//   output for the coordinate at place t       t: it depends on those before it
//
// The weights between others are multiplied by 0. Of large networks, whose weights are half zeros
// so, most of these are left out of the products.
#pragma once

#include <mutex>

#include "backflow/flows/conditioners/mlp.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Without its masks it is an Mlp of D inputs and D K outputs, with the same parameters.
class Made : public Mlp {
 public:
  // order[t] is the coordinate at place t. `hidden_degrees` are those of all hidden units, layer
  // after layer; by themselves, unit k of its layer has the degree 1 + k mod (D - 1), or 1 if
  // D = 1. With a context it is k mod D: units of degree 0 depend on the context alone, so that
  // what the first coordinate makes of it need not be linear.
  Made(const std::vector<Index>& order, Index K, const Net& net, const Random& random,
       const std::vector<Index>& hidden_degrees = {});

  Var operator()(const Var& x, const Pass& pass) const;  // (B, D) -> (B, D, K)

  // For inverses: makes x (B, D) coordinate after coordinate, in order. value(i, p) gives
  // coordinate i, (B) or (B, 1), of its parameters p (B, K), which depend on the coordinates
  // before it. Each unit is computed once, so that all takes about as long as one evaluation of
  // the network and D calls of value(). No gradients.
  Tensor fill(const Shape& x, const Pass& pass,
              const std::function<Tensor(Index i, const Tensor& p)>& value) const;

  const std::vector<Index>& order() const { return order_; }

 private:
  using Degrees = std::vector<std::vector<Index>>;  // of each layer, from the inputs to the outputs
  Made(Degrees degrees, const std::vector<Index>& order, Index K, const Net& net,
       const Random& random);

  void make_staircases();
  Var through_staircases(const Var& x, const Pass& pass) const;

  // The weights of a layer as one of the two ways to walk through it reads them. They are made once
  // for each version of the parameter: for a few examples that would take most of the time.
  struct Arranged {
    KeptWeights weight;
    std::uint64_t version = 0;
  };
  KeptWeights arranged(std::vector<Arranged>& kept, std::size_t layer, const Parameter& weight,
                       const std::function<KeptWeights(const Tensor& W)>& arrange) const;

  class Filling;
  std::vector<Index> order_;
  Index K_;
  Degrees degrees_;
  std::vector<Staircase> staircases_;  // of each layer; none where they would not pay
  mutable std::mutex arranging_;
  mutable std::vector<Arranged> for_staircases_, for_filling_;  // of each layer
};

}  // namespace backflow::inline BACKFLOW_PRECISION
