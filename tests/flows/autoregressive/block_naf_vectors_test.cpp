// Against the authors' code; tests/data/zoo.
#include "backflow/flows/autoregressive/block_layer.h"
#include "backflow/flows/autoregressive/block_naf.h"
#include "backflow/tests/flows/vectors.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// A mask of the file against the blocks of D coordinates.
void expect_mask(const Tensor& mask, Index D, bool below) {
  const Index outer = mask.size(0) / D, inner = mask.size(1) / D;
  for (Index i = 0; i < mask.size(); ++i) {
    const Index row = i / mask.size(1) / outer, column = i % mask.size(1) / inner;
    ASSERT_EQ(mask[i] != 0, below ? column < row : column == row) << "element " << i;
  }
}

void expect_block_naf(const std::string& name, BlockNafForm form) {
  SCOPED_TRACE(name);
  Vectors vectors("zoo/" + name);
  const Index D = vectors["x"].size(1);
  BlockNafOptions options{.hidden = {}, .form = form};
  for (int i = 0; vectors.has("param." + std::to_string(i) + ".weight"); i += 2)
    options.hidden.push_back(vectors["param." + std::to_string(i) + ".weight"].size(0) / D);
  options.hidden.pop_back();  // the last layer has one unit per coordinate
  expect_zoo_flow(vectors, BlockNaf(D, options, Random(1)));
  for (std::size_t i = 0; i <= options.hidden.size(); ++i) {
    const std::string layer = std::to_string(2 * i) + ".";
    const auto [weight, log_diagonal] = block_weight(vectors["param." + layer + "weight"],
                                                     vectors["param." + layer + "log_scale"], D);
    vectors.expect(layer + "weight_effective", weight.value());
    vectors.expect(layer + "log_diagonal_blocks", transpose(log_diagonal.value()));
    expect_mask(vectors[layer + "mask_diagonal"], D, false);
    expect_mask(vectors[layer + "mask_below"], D, true);
  }
}

TEST(Vectors, BlockNaf) {
  expect_block_naf("bnaf", BlockNafForm::plain);
  expect_block_naf("bnaf_residual", BlockNafForm::residual);
  expect_block_naf("bnaf_gated", BlockNafForm::gated);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
