// SPDX-License-Identifier: MIT
#include "configuration.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <concepts>
#include <limits>
#include <numeric>
#include <string_view>
#include <system_error>
#include <type_traits>

#include <yaml-cpp/yaml.h>

#include <meanflow/error.hpp>
#include <meanflow/io/file.hpp>

namespace cifar10 {

namespace {

using meanflow::FileError;
using meanflow::SettingError;

template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_variant = false;
template <class... T>
inline constexpr bool is_variant<std::variant<T...>> = true;

template <class T>
concept Scalar = std::is_arithmetic_v<T> || std::is_enum_v<T>;

// ------------------------------------------------------------------------------ writing

[[nodiscard]] std::string number_text(double value) {
  std::array<char, 32> text{};
  const double size = std::abs(value);
  const auto format = size == 0 || (size >= 1e-5 && size < 1e9) ? std::chars_format::fixed
                                                                : std::chars_format::scientific;
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value, format).ptr};
}

template <Scalar T>
[[nodiscard]] std::string text_of(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    for (const auto& [name, other] : NamesOf<T>::all)
      if (other == value) return name;
    return "";
  } else if constexpr (std::same_as<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::integral<T>) {
    return std::to_string(value);
  } else {
    return number_text(value);
  }
}

/// Settings as a YAML map. With `complete`, optional sections that are not set are there as well.
template <class S>
[[nodiscard]] YAML::Node node_of(S& settings, bool complete) {
  YAML::Node node(YAML::NodeType::Map);
  if constexpr (is_variant<S>) {
    node[ChoiceOf<S>::key] = ChoiceOf<S>::names.at(settings.index());
    std::visit(
        [&](auto& chosen) {
          for (const auto& entry : node_of(chosen, complete)) node[entry.first] = entry.second;
        },
        settings);
  } else {
    describe(settings, [&](const char* key, auto& value, const Range& = {}) {
      using T = std::remove_cvref_t<decltype(value)>;
      if constexpr (Scalar<T>) {
        node[key] = text_of(value);
      } else if constexpr (is_vector<T>) {
        YAML::Node list(YAML::NodeType::Sequence);
        list.SetStyle(YAML::EmitterStyle::Flow);
        for (auto& element : value) {
          if constexpr (Scalar<typename T::value_type>)
            list.push_back(text_of(element));
          else
            list.push_back(node_of(element, complete));
        }
        node[key] = list;
      } else if constexpr (is_optional<T>) {
        T copy = value;
        if (complete && !copy) copy.emplace();
        if (copy) node[key] = node_of(*copy, complete);
      } else {
        node[key] = node_of(value, complete);
      }
    });
  }
  return node;
}

struct Leaf {
  std::string key, text;
};

/// "train.batch" and its value, for every setting.
void collect(const YAML::Node& node, const std::string& prefix, std::vector<Leaf>& leaves) {
  for (const auto& entry : node) {
    const std::string key = prefix + entry.first.as<std::string>();
    if (entry.second.IsMap())
      collect(entry.second, key + ".", leaves);
    else
      leaves.push_back({key, YAML::Dump(entry.second)});
  }
}

[[nodiscard]] std::vector<Leaf> leaves_of(Settings settings, bool complete) {
  std::vector<Leaf> leaves;
  collect(node_of(settings, complete), "", leaves);
  return leaves;
}

// ------------------------------------------------------------------------- suggestions

/// The least number of characters to insert, remove or replace (Levenshtein).
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t(0));
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({replaced, row[j] + 1, row[j - 1] + 1}));
    }
  }
  return row.back();
}

[[nodiscard]] std::string_view last_part(std::string_view key) {
  return key.substr(key.rfind('.') + 1);
}

/// The share of characters that differ.
[[nodiscard]] double difference_of(std::string_view a, std::string_view b) {
  return static_cast<double>(edit_distance(a, b)) /
         static_cast<double>(std::max<std::size_t>({a.size(), b.size(), 1}));
}

/// The known key or section that is nearest, or one of the same name in another section.
[[nodiscard]] std::string nearest(const std::string& key, const std::vector<std::string>& known) {
  double smallest = std::numeric_limits<double>::max();
  std::string best;
  for (const std::string& candidate : known) {
    const double distance = std::min(difference_of(key, candidate),
                                     difference_of(last_part(key), last_part(candidate)) + 0.1);
    if (distance >= smallest) continue;
    smallest = distance;
    best = candidate;
  }
  return best;
}

[[nodiscard]] std::vector<std::string> known_keys(const Settings& settings) {
  std::vector<std::string> keys;
  for (const Leaf& leaf : leaves_of(settings, true)) {
    for (std::size_t dot = leaf.key.find('.'); dot != std::string::npos;
         dot = leaf.key.find('.', dot + 1)) {
      const std::string section = leaf.key.substr(0, dot);
      if (std::ranges::find(keys, section) == keys.end()) keys.push_back(section);
    }
    keys.push_back(leaf.key);
  }
  return keys;
}

// ------------------------------------------------------------------------------ reading

/// Where a value stands: a line of a file, or a change of the command line.
struct Source {
  std::string name;
  bool has_lines = true;

  [[nodiscard]] std::string at(const YAML::Node& node) const {
    if (!has_lines || node.Mark().line < 0) return name + ": ";
    return name + ":" + std::to_string(node.Mark().line + 1) + ": ";
  }
};

[[nodiscard]] std::string shown(const YAML::Node& node) {
  if (node.IsScalar()) return "\"" + node.Scalar() + "\"";
  return node.IsNull() ? "empty" : node.IsMap() ? "a section" : "a list";
}

[[nodiscard]] std::string range_text(const Range& range) {
  if (range.high < 1e300)
    return std::string(" in ") + (range.above ? "(" : "[") + number_text(range.low) + ", " +
           number_text(range.high) + "]";
  if (range.low > -1e300)
    return (range.above ? " above " : " of at least ") + number_text(range.low);
  return "";
}

template <class Names, class Name>
[[nodiscard]] std::string list_of(const Names& names, Name name) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i)
    text += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + std::string(name(names[i]));
  return text;
}

/// Overrides existing settings with what a node states.
class Reader {
 public:
  Reader(Source source, const Settings& all) : source_(std::move(source)), all_(all) {}

  template <class S>
  void section(const YAML::Node& node, const std::string& key, S& settings) {
    if (node.IsNull()) return;
    if (!node.IsMap()) wrong(node, key, "a section with keys");
    std::vector<std::string> done;
    std::string choice;  // " where net.kind is song_unet"
    if constexpr (is_variant<S>) {
      choose(node, key, settings, done);
      std::visit([&](auto& chosen) { fields(node, key, chosen, done); }, settings);
      choice = " where " + path(key, ChoiceOf<S>::key) + " is " +
               ChoiceOf<S>::names.at(settings.index());
    } else {
      fields(node, key, settings, done);
    }
    check_keys(node, key, done, choice);
  }

 private:
  template <class S>
  void fields(const YAML::Node& node, const std::string& key, S& settings,
              std::vector<std::string>& done) {
    describe(settings, [&](const char* name, auto& value, const Range& range = {}) {
      done.emplace_back(name);
      if (const YAML::Node found = node[name]) read(found, path(key, name), value, range);
    });
  }

  /// The type that a variant's key names; another one than before starts from its defaults.
  template <class V>
  void choose(const YAML::Node& node, const std::string& key, V& settings,
              std::vector<std::string>& done) {
    using Choice = ChoiceOf<V>;
    done.emplace_back(Choice::key);
    const YAML::Node found = node[Choice::key];
    if (!found) return;
    const std::string name = found.IsScalar() ? found.Scalar() : "";
    const auto place =
        std::ranges::find_if(Choice::names, [&](const char* n) { return n == name; });
    if (place == Choice::names.end())
      wrong(found, path(key, Choice::key), list_of(Choice::names, [](auto n) { return n; }));
    const auto index = static_cast<std::size_t>(place - Choice::names.begin());
    if (index != settings.index()) emplace<V>(settings, index);
  }

  template <class V, std::size_t I = 0>
  static void emplace(V& settings, std::size_t index) {
    if constexpr (I < std::variant_size_v<V>) {
      if (index == I)
        settings.template emplace<I>();
      else
        emplace<V, I + 1>(settings, index);
    }
  }

  template <class T>
  void read(const YAML::Node& node, const std::string& key, T& value, const Range& range) {
    if constexpr (Scalar<T>) {
      scalar(node, key, value, range);
    } else if constexpr (is_vector<T>) {
      if (!node.IsSequence()) wrong(node, key, "a list in brackets");
      if (node.size() == 0 && !range.may_be_empty) wrong(node, key, "at least one in brackets");
      T list(node.size());
      for (std::size_t i = 0; i < node.size(); ++i)
        read(node[i], key + "[" + std::to_string(i) + "]", list[i], range);
      value = std::move(list);
    } else if constexpr (is_optional<T>) {
      if (!value) value.emplace();
      section(node, key, *value);
    } else {
      section(node, key, value);
    }
  }

  template <class T>
  void scalar(const YAML::Node& node, const std::string& key, T& value, const Range& range) {
    const std::string text = node.IsScalar() ? node.Scalar() : "";
    if constexpr (std::is_enum_v<T>) {
      for (const auto& [name, named] : NamesOf<T>::all) {
        if (text != name) continue;
        value = named;
        return;
      }
      wrong(node, key, list_of(NamesOf<T>::all, [](const auto& n) { return n.first; }));
    } else if constexpr (std::same_as<T, bool>) {
      if (text != "true" && text != "false") wrong(node, key, "true or false");
      value = text == "true";
    } else {
      T number{};
      const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
      const double as_double = static_cast<double>(number);
      const bool usable = parsed.ec == std::errc{} && parsed.ptr == text.data() + text.size() &&
                          std::isfinite(as_double) && as_double >= range.low &&
                          as_double <= range.high && !(range.above && as_double == range.low);
      if (!usable || text.empty())
        wrong(node, key, (std::integral<T> ? "a whole number" : "a number") + range_text(range));
      value = number;
    }
  }

  void check_keys(const YAML::Node& node, const std::string& section,
                  const std::vector<std::string>& known, const std::string& choice) const {
    std::vector<std::string> seen;
    for (const auto& entry : node) {
      const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : "";
      const std::string key = path(section, name);
      if (std::ranges::find(known, name) == known.end())
        unknown(entry.first, section, key, known, choice);
      if (std::ranges::find(seen, name) != seen.end())
        throw SettingError(source_.at(entry.first) + key + " is given twice");
      seen.push_back(name);
    }
  }

  [[noreturn]] void unknown(const YAML::Node& node, const std::string& section,
                            const std::string& key, const std::vector<std::string>& known,
                            const std::string& choice) const {
    std::vector<std::string> candidates;
    for (const std::string& name : known) candidates.push_back(path(section, name));
    for (const std::string& other : known_keys(all_)) candidates.push_back(other);
    throw SettingError(source_.at(node) + "there is no setting " + key + choice +
                       "; did you mean " + nearest(key, candidates) + "?");
  }

  [[noreturn]] void wrong(const YAML::Node& node, const std::string& key,
                          const std::string& expected) const {
    const std::string named = key.empty() ? "the configuration" : key;
    throw SettingError(source_.at(node) + named + " is " + shown(node) + ", expected " + expected);
  }

  [[nodiscard]] static std::string path(const std::string& section, const std::string& name) {
    return section.empty() ? name : section + "." + name;
  }

  Source source_;
  const Settings& all_;
};

[[nodiscard]] YAML::Node load(const std::string& text, const std::string& source) {
  try {
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    throw FileError(source + ":" + std::to_string(error.mark.line + 1) +
                    ": is not YAML: " + error.msg);
  }
}

void apply_change(const std::string& change, Settings& settings) {
  const std::string name = "--set " + change;
  const std::size_t equals = change.find('=');
  if (equals == std::string::npos || equals == 0)
    throw SettingError(name + ": expected a setting such as train.batch=64");
  YAML::Node node = load(change.substr(equals + 1), name);
  std::string key = change.substr(0, equals);
  for (std::size_t dot = key.rfind('.'); dot != std::string::npos; dot = key.rfind('.')) {
    YAML::Node outer(YAML::NodeType::Map);
    outer[key.substr(dot + 1)] = node;
    node = outer;
    key.resize(dot);
  }
  YAML::Node root(YAML::NodeType::Map);
  root[key] = node;
  Reader({name, false}, settings).section(root, "", settings);
}

/// What no single setting shows.
void check_together(const Settings& s, const std::string& source) {
  const auto refuse = [&](const std::string& what) { throw SettingError(source + ": " + what); };
  if (s.data.augment && !std::holds_alternative<meanflow::SongUNetSettings>(s.net))
    refuse("data.augment is true, but a " +
           std::string(ChoiceOf<NetSettings>::names[s.net.index()]) +
           " is not told what was done to a picture");
  if (s.data.kind == DataKind::latents && s.data.fraction != 1)
    refuse("data.fraction is " + number_text(s.data.fraction) + ", but latents are taken whole");
  if (s.data.kind == DataKind::latents && s.data.augment)
    refuse("data.augment is true, but latents cannot be augmented");
  const auto* gap = std::get_if<meanflow::AlphaFlow>(&s.objective);
  if (gap && gap->divided && s.train.precision == meanflow::Precision::bfloat16)
    refuse("objective.divided is true, which bfloat16 is too coarse for: set train.precision");
  if (std::holds_alternative<meanflow::ImfObjective>(s.objective)) {
    if (!std::holds_alternative<ImfNet>(s.net))
      refuse("objective.kind is imf, which trains two heads: set net.kind to imf_transformer");
    if (s.guidance.active())
      refuse("objective.kind is imf, which draws its guidance: leave guidance.omega at 1, kappa 0");
    if (s.train.label_dropout.rate > 0)
      refuse(
          "objective.kind is imf, which drops labels itself (objective.dropout): set "
          "train.label_dropout.rate to 0");
  }
  if (std::holds_alternative<meanflow::SplitMeanFlow>(s.objective) &&
      std::get<meanflow::SplitMeanFlow>(s.objective).average && s.averages.empty())
    refuse("objective.from_average is true, but there are no averages");
  if (s.guidance.active() && !s.data.labels)
    refuse("guidance.omega and kappa are " + number_text(s.guidance.omega) + " and " +
           number_text(s.guidance.kappa) +
           ", but without data.labels there is nothing to guide to");
  const bool drops = s.train.label_dropout.rate > 0;
  if (drops && !s.data.labels)
    refuse("train.label_dropout.rate is " + number_text(s.train.label_dropout.rate) +
           ", but without data.labels there is nothing to drop: set it to 0");
  if (s.guidance.active() && !drops)
    refuse(
        "guidance.omega and kappa are " + number_text(s.guidance.omega) + " and " +
        number_text(s.guidance.kappa) +
        ", but with train.label_dropout.rate 0 the net never learns what it is guided away from");
  if (s.sample.guidance != 1 && s.data.labels && !drops)
    refuse(
        "sample.guidance is " + number_text(s.sample.guidance) +
        ", but with train.label_dropout.rate 0 the net never learns what it is guided away from");
  if (s.sample.guidance != 1 && !s.data.labels)
    refuse("sample.guidance is " + number_text(s.sample.guidance) +
           ", but without data.labels there is nothing to guide to: set it to 1");
  if (s.guidance.t_start > s.guidance.t_end)
    refuse("guidance.t_start is " + number_text(s.guidance.t_start) +
           ", but must be at most t_end, which is " + number_text(s.guidance.t_end));
  if (s.averages.empty()) refuse("averages is empty, expected at least one");
}

/// Whether a resumed training run may change this setting.
[[nodiscard]] bool may_change(const std::string& key) {
  constexpr std::array sections{"learning_rate.", "log.",      "checkpoint.",
                                "sample.",        "evaluate.", "classifier."};
  return key == "train.steps" || key == "train.tile_rows" || key == "train.precision" ||
         key == "train.convolutions" || key == "train.shard_optimizer" ||
         key == "train.deterministic" ||
         std::ranges::any_of(sections, [&](const char* s) { return key.starts_with(s); });
}

}  // namespace

Settings parse_configuration(const std::string& text, const std::string& source,
                             const std::vector<std::string>& changes) {
  Settings settings;
  Reader({source, true}, settings).section(load(text, source), "", settings);
  for (const std::string& change : changes) apply_change(change, settings);
  check_together(settings, source);
  return settings;
}

Settings read_configuration(const std::filesystem::path& file,
                            const std::vector<std::string>& changes) {
  const std::vector<std::byte> bytes = meanflow::detail::whole_file(file);
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return parse_configuration(text, file.string(), changes);
}

std::string to_yaml(const Settings& settings) {
  Settings copy = settings;
  return YAML::Dump(node_of(copy, false)) + "\n";
}

std::optional<std::string> difference(const Settings& now, const Settings& before) {
  const std::vector<Leaf> ours = leaves_of(now, false), theirs = leaves_of(before, false);
  const auto text_in = [](const std::vector<Leaf>& leaves, const std::string& key) {
    const auto found = std::ranges::find(leaves, key, &Leaf::key);
    return found == leaves.end() ? std::string() : found->text;
  };
  const auto told = [](const std::string& text) { return text.empty() ? "not set" : text; };
  for (const auto* leaves : {&ours, &theirs}) {
    for (const Leaf& leaf : *leaves) {
      const std::string a = text_in(ours, leaf.key), b = text_in(theirs, leaf.key);
      if (a != b && !may_change(leaf.key)) {
        return leaf.key + " is " + told(a) + ", but was " + told(b);
      }
    }
  }
  return std::nullopt;
}

}  // namespace cifar10
