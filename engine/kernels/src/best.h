// The best few of many candidates, as they come: by descending score, equal ones by ascending number.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

struct Candidate {
  float score;
  int32_t number;
};

inline bool better(const Candidate &a, const Candidate &b) {
  return a.score > b.score || (a.score == b.score && a.number < b.number);
}

// Keeps up to twice `k` candidates, and drops the worse half when there are as many: what is kept is never of more than
// those that were ahead of the worst of the last selection. The order of candidates makes no difference.
class BestOf {
 public:
  explicit BestOf(size_t k) : k_(k) { kept_.reserve(2 * k + 1); }

  void clear() {
    kept_.clear();
    full_ = false;
  }

  void offer(Candidate candidate) {
    if (full_ ? !better(candidate, worst_) : candidate.score != candidate.score) return;  // no number is none of them
    kept_.push_back(candidate);
    if (kept_.size() > 2 * k_) select();
  }

  // Those kept, best first.
  const std::vector<Candidate> &sorted() {
    if (kept_.size() > k_) select();
    std::sort(kept_.begin(), kept_.end(), better);
    return kept_;
  }

 private:
  void select() {
    std::nth_element(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(k_ - 1), kept_.end(), better);
    kept_.resize(k_);
    worst_ = kept_[k_ - 1];
    full_ = true;
  }

  size_t k_;
  std::vector<Candidate> kept_;
  Candidate worst_{};
  bool full_ = false;
};
