#include "backflow/apps/zoo/report.h"

#include <unistd.h>

#include <cstdio>

#include "backflow/apps/files/text.h"
#include "backflow/apps/model/fields.h"

namespace backflow::inline BACKFLOW_PRECISION {

Index parameter_count(const Module& module) {
  Index count = 0;
  for (const NamedParameter& named : module.parameters()) count += named.parameter->value().size();
  return count;
}

std::string in_words(const ZooScore& score, const ZooData& data) {
  const bool table = data.columns();
  std::string words =
      text("%s of %lld %s: %.4f +- %.4f nats%s\n", data.nll_name().c_str(), number(score.count),
           data.examples_name().c_str(), score.nll, score.nll_error,
           table ? text("; log-likelihood %.4f", -score.nll).c_str() : "");
  if (!score.bound) return words;
  return words + text("%s: %.4f\n", data.bound_name().c_str(), *score.bound) +
         text("KL: %.4f +- %.4f\n", score.kl, score.kl_error);
}

std::string as_json(const ZooScore& score, const ZooData& data, const ZooConfig& config) {
  JsonMembers members{{"flow", json_value(config.flow)},
                      {data.columns() ? "data" : "target", json_value(data.name())},
                      {"count", json_value(score.count)},
                      {"nll", json_value(score.nll)},
                      {"standard_error", json_value(score.nll_error)}};
  if (score.bound) {
    members.emplace_back("bound", json_value(*score.bound));
    members.emplace_back("bound_is", json_value(data.bound_name()));
    members.emplace_back("kl", json_value(score.kl));
    members.emplace_back("kl_standard_error", json_value(score.kl_error));
  }
  return json_object(members);
}

int verdict(const ZooScore& score) {
  if (!score.impossible()) return 0;
  std::fflush(stdout);
  const bool terminal = isatty(STDERR_FILENO);
  std::fprintf(stderr,
               "%szoo: a KL of %.4f is below 0 by %.1f standard errors, as no density's is: a "
               "log-determinant is wrong%s\n",
               terminal ? "\x1b[31m" : "", score.kl, -score.kl / score.kl_error,
               terminal ? "\x1b[0m" : "");
  return 4;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
