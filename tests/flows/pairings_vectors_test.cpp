// NICE, Real NVP, MAF and IAF against values of the libraries that tests/data/zoo names, which hold
// their parameters in other layouts than ours: so each tensor of a file has its places in ours.
#include <numeric>

#include "backflow/flows/autoregressive/autoregressive.h"
#include "backflow/flows/bases.h"
#include "backflow/flows/coupling/coupling.h"
#include "backflow/flows/elementwise/diagonal.h"
#include "backflow/flows/permute.h"
#include "backflow/flows/sequential.h"
#include "backflow/flows/transforms/affine.h"
#include "backflow/flows/transforms/gate.h"
#include "backflow/ops/functions.h"
#include "backflow/tests/flows/vectors.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Places = std::vector<Index>;

Places range(Index n, Index first = 0, Index step = 1) {
  Places places;
  for (Index i = 0; i < n; ++i) places.push_back(first + i * step);
  return places;
}

// Where a matrix of the file, or a vector as one column, lies in a parameter of ours. Places of -1
// are not in it: there the file must have the gradient 0.
struct Piece {
  std::string name;  // in the file, behind "param." and "grad."
  Places rows, columns = {0};
  Tensor mask = {};         // of the file's shape: 0 where the file has no weight
  bool transposed = false;  // in the file
};

// The parameters of a flow, made of pieces.
class Pieces {
 public:
  Pieces(Vectors& vectors, const Flow& flow) : vectors_(vectors) {
    for (const auto& [name, parameter] : flow.parameters()) parameters_[name] = parameter;
  }

  void put(const std::string& ours, const Piece& piece) {
    Parameter* const parameter = parameters_.at(ours);
    if (std::none_of(put_.begin(), put_.end(), [&](const auto& p) { return p.first == parameter; }))
      parameter->set(Tensor::zeros(parameter->shape()));
    put_.emplace_back(parameter, piece);
    Tensor value = parameter->value();
    const Tensor given = matrix(piece, "param.");
    for_each(piece, *parameter, [&](Index from, Index to) {
      if (to >= 0) value.mutable_data()[to] = given[from];
    });
    parameter->set(value);
  }

  // One that the file has no name for.
  void give(const std::string& ours, const Tensor& value) {
    parameters_.at(ours)->set(value);
    parameters_.erase(ours);
  }

  void expect(const Gradients& gradients) {
    for (const auto& [name, parameter] : parameters_)
      EXPECT_TRUE(std::any_of(put_.begin(), put_.end(),
                              [p = parameter](const auto& at) { return at.first == p; }))
          << name << " was never put";
    for (const auto& [parameter, piece] : put_) {
      const Tensor expected = matrix(piece, "grad."), gradient = gradients[*parameter];
      double largest = 0;
      for (Real value : expected.values()) largest = std::max(largest, std::abs(double{value}));
      for_each(piece, *parameter, [&, &name = piece.name](Index from, Index to) {
        EXPECT_NEAR(to < 0 ? 0 : gradient[to], expected[from], (in_double ? 1e-9 : 1e-4) * largest)
            << name << ", element " << from;
      });
    }
  }

 private:
  Tensor matrix(const Piece& piece, const std::string& kind) {
    const Tensor stored = vectors_[kind + piece.name];
    const Tensor as_matrix = stored.rank() == 2 ? stored : stored.reshape({stored.size(), 1});
    const Tensor masked = piece.mask.defined() ? as_matrix * piece.mask : as_matrix;
    return piece.transposed ? transpose(masked) : masked;
  }

  template <class F>
  static void for_each(const Piece& piece, const Parameter& parameter, const F& f) {
    const Index width = parameter.shape().rank() == 2 ? parameter.shape()[1] : 1;
    for (Index i = 0; i < std::ssize(piece.rows); ++i)
      for (Index j = 0; j < std::ssize(piece.columns); ++j) {
        const Index from = i * std::ssize(piece.columns) + j, row = piece.rows[i];
        const Tensor& mask = piece.mask;
        const bool there =
            !mask.defined() || (piece.transposed ? mask.at({j, i}) : mask.at({i, j})) != 0;
        if (there) f(from, row < 0 || piece.columns[j] < 0 ? -1 : row * width + piece.columns[j]);
      }
  }

  Vectors& vectors_;
  std::map<std::string, Parameter*> parameters_;
  std::vector<std::pair<Parameter*, Piece>> put_;
};

void expect_values(Vectors& vectors, const Flow& flow, Pieces& pieces, Pass pass = {}) {
  const Var x = Var::leaf(vectors["x"]);
  const Out out = flow.forward(x, pass);
  vectors.expect("z", out.z.value());
  vectors.expect("logdet", out.logdet.value());
  vectors.expect("logdet_by_jacobian", out.logdet.value());
  const Gradients gradients =
      backward(sum(out.z * vectors["grad_z"]) + sum(out.logdet * vectors["grad_logdet"]));
  vectors.expect("grad_x", gradients[x]);
  if (pass.context.value().defined()) vectors.expect("grad.context", gradients[pass.context]);
  pieces.expect(gradients);
  vectors.expect("inverse.x", flow.inverse(vectors["inverse.z"], pass));
  vectors.expect("inverse.z", flow.forward(vectors["inverse.x"], pass).z.value());
  const Out back = flow.inverse_recorded(vectors["inverse.z"], pass);
  vectors.expect("inverse.x", back.z.value());
  const Tensor there = flow.forward(vectors["inverse.x"], pass).logdet.value();
  expect_close(-back.logdet.value(), there, in_double ? 1e-9 : 1e-4, "logdet of the inverse");
}

using Layers = std::vector<std::unique_ptr<Flow>>;

// A coupling whose transformed coordinates are any: between two changes of their order.
struct Masked {
  Masked(const Tensor& transformed) {
    for (Index i = 0; i < transformed.size(); ++i)
      (transformed[i] != 0 ? moved : kept).push_back(i);
    place.resize(kept.size() + moved.size());
    for (std::size_t t = 0; t < place.size(); ++t) place[order()[t]] = static_cast<Index>(t);
  }
  Places order() const {
    Places all = kept;
    all.insert(all.end(), moved.begin(), moved.end());
    return all;
  }
  void add(Layers& layers, std::unique_ptr<Transform> transform, const Net& net) const {
    const Index D = std::ssize(place);
    layers.push_back(std::make_unique<Permute>(order()));
    layers.push_back(
        std::make_unique<Coupling>(D, std::ssize(kept), std::move(transform), net, Random(1)));
    layers.push_back(std::make_unique<Permute>(place));
  }
  // Of a coordinate among those that are kept, or those that are moved; -1: it is none of them.
  Places among_kept() const {
    Places at = place;
    for (Index& t : at) t = t < std::ssize(kept) ? t : -1;
    return at;
  }
  Places among_moved() const {
    Places at = place;
    for (Index& t : at) t = t < std::ssize(kept) ? -1 : t - std::ssize(kept);
    return at;
  }

  Places kept, moved, place;
};

std::string name_of(std::size_t layer, const char* what) { return std::to_string(layer) + what; }

TEST(PairingVectors, Nice) {
  Vectors vectors("zoo/nice");
  const Tensor transformed = vectors["0.transformed"];
  Layers layers;
  std::size_t count = 0;
  for (; vectors.has("param." + name_of(count, ".l0.weight")); ++count) {
    const Index width = vectors["param." + name_of(count, ".l0.weight")].size(0);
    const Tensor others = Tensor::full(transformed.shape(), 1) - transformed;
    Masked(count % 2 == 0 ? transformed : others)
        .add(layers, std::make_unique<Additive>(), {.hidden = {width}});
  }
  layers.push_back(std::make_unique<Diagonal>(transformed.size()));
  const Sequential flow(std::move(layers));
  Pieces pieces(vectors, flow);
  for (std::size_t i = 0; i < count; ++i)
    for (int l : {0, 1}) {
      const std::string ours = name_of(3 * i + 1, ".net.") + std::to_string(2 * l);
      const std::string file = name_of(i, ".l") + std::to_string(l);
      const Tensor weight = vectors["param." + file + ".weight"];
      pieces.put(ours + ".weight",
                 {file + ".weight", range(weight.size(0)), range(weight.size(1))});
      pieces.put(ours + ".bias", {file + ".bias", range(weight.size(0))});
    }
  pieces.put(name_of(3 * count, ".log_scale"), {"log_scale", range(transformed.size())});
  expect_values(vectors, flow, pieces);
  const Out out = flow.forward(vectors["x"]);
  vectors.expect("log_prob_logistic",
                 standard_logistic().log_prob(out.z).value() + out.logdet.value());
}

// Their networks for s and t are one of ours, whose weights between the two are 0.
void put_coupling(Pieces& pieces, Vectors& vectors, const std::string& ours,
                  const std::string& file, const Masked& masked) {
  const Places kept = masked.among_kept(), moved = masked.among_moved();
  pieces.put(ours + "transform.scale", {file + "s.scale", moved});
  Index first = 0;
  for (const Index which : {0, 1}) {  // h, that is s, and m, that is t
    const std::string net = file + (which == 0 ? "s" : "t");
    const Index width = vectors["param." + net + ".l0.bias"].size();
    const Places hidden = range(width, first);
    Places outputs = moved;
    for (Index& at : outputs) at = at < 0 ? -1 : 2 * at + which;
    pieces.put(ours + "net.0.weight", {net + ".l0.weight", hidden, kept});
    pieces.put(ours + "net.0.bias", {net + ".l0.bias", hidden});
    pieces.put(ours + "net.2.weight", {net + ".l1.weight", outputs, hidden});
    pieces.put(ours + "net.2.bias", {net + ".l1.bias", outputs});
    first += width;
  }
}

TEST(PairingVectors, RealNvp) {
  Vectors vectors("zoo/realnvp");
  Layers layers;
  std::vector<Masked> masks;
  for (std::size_t i = 0; vectors.has(name_of(i, ".mask")); ++i) {
    const Tensor mask = vectors[name_of(i, ".mask")];
    masks.emplace_back(Tensor::full(mask.shape(), 1) - mask);
    const Index width = vectors["param." + name_of(i, ".s.l0.bias")].size() +
                        vectors["param." + name_of(i, ".t.l0.bias")].size();
    const AffineOptions affine{.scale = ScaleForm::learned_tanh,
                               .elements = std::ssize(masks.back().moved)};
    masks.back().add(layers, std::make_unique<Affine>(affine),
                     {.hidden = {width}, .activation = tanh});
  }
  const Sequential flow(std::move(layers));
  Pieces pieces(vectors, flow);
  for (std::size_t i = 0; i < masks.size(); ++i)
    put_coupling(pieces, vectors, name_of(3 * i + 1, "."), name_of(i, "."), masks[i]);
  expect_values(vectors, flow, pieces);
}

std::vector<Index> whole_numbers(const Tensor& x) {
  std::vector<Index> numbers;
  for (Real value : x.values()) numbers.push_back(std::lround(value));
  return numbers;
}

void expect_maf(const std::string& name, const AffineOptions& affine) {
  Vectors vectors(name);
  const std::vector<Index> degrees = whole_numbers(vectors["degrees.in"]);
  std::vector<Index> order(degrees.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[degrees[i] - 1] = static_cast<Index>(i);
  Net net{.hidden = {}, .activation = tanh};
  std::vector<Index> hidden_degrees;
  for (const char* layer : {"degrees.hidden1", "degrees.hidden2"}) {
    net.hidden.push_back(vectors[layer].size());
    for (Index degree : whole_numbers(vectors[layer])) hidden_degrees.push_back(degree);
  }
  const Autoregressive flow(order, std::make_unique<Affine>(affine), net, Random(1),
                            Start::constant, hidden_degrees);
  Pieces pieces(vectors, flow);
  int layer = 0;
  for (const std::string file : {"in", "hidden", "out"}) {
    const Tensor weight = vectors["param." + file + ".weight"];
    const std::string ours = "made." + std::to_string(2 * layer++);
    pieces.put(ours + ".weight", {file + ".weight", range(weight.size(0)), range(weight.size(1))});
    pieces.put(ours + ".bias", {file + ".bias", range(weight.size(0))});
    vectors["mask." + file];  // follows from the degrees: the gradients of the weights are 0 there
  }
  expect_values(vectors, flow, pieces);
  if (!vectors.has("net_output")) return;
  const Made made(order, 2, net, Random(1), hidden_degrees);
  for (const auto& [of_made, parameter] : made.parameters())
    for (const auto& [of_flow, value] : flow.parameters())
      if (of_flow == "made." + of_made) parameter->set(value->value());
  vectors.expect("net_output", made(Tensor::zeros({1, std::ssize(order)}), {}).value());
}

TEST(PairingVectors, Maf) {
  expect_maf("zoo/maf", {.scale = ScaleForm::exp, .divides = true});
  expect_maf("zoo/maf_softplus", {.scale = ScaleForm::softplus, .least = 1e-3});
}

// Their context is added to the first hidden layer as it is. Of two units that read the same
// coordinates only one may read the other: such weights of ours are 0.
TEST(PairingVectors, Iaf) {
  Vectors vectors("zoo/iaf");
  const Tensor reaches = vectors["0.mask.in"];
  const Index D = reaches.size(0), width = reaches.size(1);
  std::vector<Index> degrees = whole_numbers(sum(reaches, {0}));
  degrees.insert(degrees.end(), degrees.begin(), degrees.end());
  const Net net{.hidden = {width, width}, .activation = elu, .context = width};
  Layers layers;
  for (std::size_t i = 0; vectors.has("param." + name_of(i, ".in.weight")); ++i) {
    if (i > 0) layers.push_back(reverse(D));
    layers.push_back(std::make_unique<Autoregressive>(
        ascending(D), std::make_unique<Gate>(GateOptions{.bias = 1}), net, Random(1),
        Start::constant, degrees));
  }
  const Sequential flow(std::move(layers));
  Pieces pieces(vectors, flow);
  for (std::size_t i = 0; 2 * i < flow.layers().size(); ++i) {
    const std::string ours = name_of(2 * i, ".made.");
    pieces.give(ours + "context_hidden", Tensor::identity(width));
    pieces.give(ours + "context_output", Tensor::zeros({2 * D, width}));
    const auto put = [&](const std::string& layer, const std::string& name, const Places& outputs,
                         const Places& inputs) {
      const std::string file = name_of(i, ".") + name;
      const Tensor mask = vectors["0.mask." + name];
      pieces.put(ours + layer + ".weight", {file + ".weight", outputs, inputs, mask, true});
      pieces.put(ours + layer + ".bias", {file + ".bias", outputs});
    };
    put("0", "in", range(width), range(D));
    put("2", "hidden", range(width), range(width));
    put("4", "gate", range(D, 0, 2), range(width));
    put("4", "mean", range(D, 1, 2), range(width));
  }
  Pass pass;
  pass.context = Var::leaf(vectors["param.context"]);
  expect_values(vectors, flow, pieces, pass);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
