// Some images go through all convolutions before the next ones do, as many as stay in the first
// cache on the way forward and as many as share the cost of fetching sums on the way back. So what
// is between two convolutions stays in the caches.
#include "backflow/ops/conv_net_direct.h"

#include "backflow/engine/parallel.h"
#include "backflow/ops/shape.h"
#include "backflow/ops/workspace.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace {

ImagesView images_of(const Tensor& x, Index image, Index count) {
  return {x.data() + image * (x.size() / x.size(0)), x.data() + x.size(), count};
}

// Of either result and of what it is made of, for so many images.
Index largest(const std::vector<DirectStage>& stages, Index images) {
  Index size = 0;
  for (const DirectStage& stage : stages) size = std::max(size, stage.g.out_size());
  return images * size;
}

}  // namespace

DirectNet::DirectNet(const Tensor& x, std::vector<DirectStage> stages)
    : x_(x), stages_(std::move(stages)), activations_(stages_.size() - 1) {}

Tensor DirectNet::forward(bool keep) {
  std::vector<DirectConv> convs;
  Index few = DirectGradient::most_images;
  for (const auto& [g, w, bias] : stages_) {
    convs.emplace_back(g, w, bias);
    few = std::min(few, convs.back().few_images());
  }
  Tensor y = Tensor::empty(stages_.back().g.output());
  std::vector<Real*> to(activations_.size());
  for (std::size_t i = 0; keep && i < to.size(); ++i) {
    activations_[i] = Tensor::empty(stages_[i].g.output());
    to[i] = activations_[i].mutable_data();
  }
  to.push_back(y.mutable_data());
  const Index size = largest(stages_, few);
  parallel_for(images(), few, [&](Index image, Index end) {
    const Workspace odd(size), even(size);
    ImagesView from = images_of(x_, image, end - image);
    for (std::size_t i = 0; i < convs.size(); ++i) {
      const Index out_size = stages_[i].g.out_size();
      Real* const out = to[i] ? to[i] + image * out_size : (i % 2 ? odd : even).data();
      convs[i].forward(from, i + 1 < convs.size(), out);
      from = {out, out + from.count * out_size, from.count};
    }
  });
  return y;
}

std::vector<Tensor> DirectNet::gradients(const Tensor& g) const {
  std::vector<DirectGradient> all;
  std::vector<Index> weights, lanes;  // where those of each stage begin
  Index sums = 0, lane_sums = 0;
  for (const auto& [geometry, w, bias] : stages_) {
    all.emplace_back(geometry, w);
    weights.push_back(sums), lanes.push_back(lane_sums);
    sums += w.size() + bias.size(), lane_sums += all.back().lane_sums();
  }
  Tensor dx = Tensor::empty(x_.shape());
  const Index size = largest(stages_, DirectGradient::most_images);
  const auto part = [&, to = dx.mutable_data()](Index image, Index count, Real* sum) {
    const Workspace lane_sum(lane_sums), odd(size), even(size);
    std::fill_n(lane_sum.data(), lane_sums, Real(0));
    std::fill_n(sum, sums, Real(0));
    for (const Index end = image + count; image < end; image += DirectGradient::most_images) {
      const Index some = std::min(DirectGradient::most_images, end - image);
      ImagesView d = images_of(g, image, some);
      for (std::size_t i = stages_.size(); i-- > 0;) {
        const ConvGeometry& at = stages_[i].g;
        Real* const d_input = i == 0 ? to + image * at.in_size() : (i % 2 ? odd : even).data();
        all[i].add(d, images_of(i == 0 ? x_ : activations_[i - 1], image, some),
                   lane_sum.data() + lanes[i], sum + weights[i] + stages_[i].w.size(), d_input,
                   i > 0);
        d = {d_input, d_input + some * at.in_size(), some};
      }
    }
    for (std::size_t i = 0; i < all.size(); ++i)
      all[i].total(lane_sum.data() + lanes[i], sum + weights[i]);
  };
  const Tensor totals = sum_over_groups({sums}, images(), part);
  std::vector<Tensor> result{dx};
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    const Tensor& w = stages_[i].w;
    const Index begin = weights[i], end = begin + w.size();
    result.push_back(slice(totals, 0, begin, end).reshape(w.shape()));
    result.push_back(slice(totals, 0, end, end + stages_[i].bias.size()));
  }
  return result;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
