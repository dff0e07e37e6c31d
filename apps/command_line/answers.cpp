#include "backflow/apps/command_line/answers.h"

#include <algorithm>
#include <cstdio>

#include "backflow/apps/files/quote.h"
#include "backflow/apps/model/nearest.h"

namespace backflow::inline BACKFLOW_PRECISION {

int say(const std::string& program, int code, std::string line) {
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::fprintf(stderr, "%s: %s\n", program.c_str(), printable(line).c_str());
  return code;
}

// What somebody may have meant by a word that is no command or flag, and where to read more.
static std::string hint(const std::string& program, const CLI::App& app, const std::string& word) {
  const auto used = app.get_subcommands();
  const CLI::App& where = used.empty() ? app : *used[0];
  std::vector<std::string> known;
  if (word.starts_with("-")) {
    for (const CLI::Option* option : where.get_options())
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  } else if (!word.empty()) {
    for (const CLI::App* command : where.get_subcommands({})) known.push_back(command->get_name());
  }
  return (known.empty() ? "; " : "; did you mean '" + nearest(word, known) + "'? ") + "see '" +
         program + " " + (used.empty() ? "" : where.get_name() + " ") + "--help'";
}

int explain(const std::string& program, const CLI::App& app, const CLI::ParseError& error) {
  std::string what = error.what();
  const std::vector<std::string> extras = app.remaining(true);
  if (!extras.empty())
    return say(program, 2, "there is no '" + extras[0] + "'" + hint(program, app, extras[0]));
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error)) {
    const bool takes_none = what.find("override") != what.npos;
    what = what.substr(what.find_first_not_of('-'));
    what = "[--" + what.substr(0, what.find_first_of(": ")) + "] expected " +
           (takes_none ? "no value" : "exactly one value");
  }
  return say(program, 2, what + hint(program, app, ""));
}

std::string out_of_memory(const std::bad_alloc& error) {
  const std::string what = error.what(), memory = "out of memory";
  const auto known = what.find(memory);
  return (known == what.npos ? memory : what.substr(known)) +
         "; ask for fewer images, smaller batches or fewer threads";
}

int flush_output(const std::string& program) {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return 0;
  return say(program, 2, "[standard output] cannot write; is the disk full?");
}

}  // namespace backflow::inline BACKFLOW_PRECISION
