// SPDX-License-Identifier: MIT
// The yardstick of scripts/check-compile-time: the standard library and nothing else, so that a
// budget holds on fast and slow machines.
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <random>
#include <regex>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  std::map<std::string, std::vector<double>> numbers;
  std::mt19937 generator(1);
  for (int i = 0; i < argc; ++i)
    if (std::regex_match(argv[i], std::regex("[a-z]+")))
      numbers[argv[i]].push_back(std::normal_distribution<double>()(generator));
  for (auto& [name, values] : numbers) {
    std::sort(values.begin(), values.end(), std::greater<>());
    std::cout << name << ' ' << values.size() << '\n';
  }
}
