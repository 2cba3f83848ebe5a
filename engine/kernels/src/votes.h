// What ratings count as votes.
#pragma once

#include <cstdint>

// What a rating counts: itself, or a vote.
struct Vote {
  bool is_rating;
  float liked_from, disliked;

  float operator()(float rating) const { return is_rating ? rating : rating >= liked_from ? 1.0f : disliked; }
};

// Votes of all ratings of a byte, so that they are looked up; of other types they are worked out.
template <class V> struct Votes {
  Vote vote;
  float step;
  float operator()(V stored) const { return vote(static_cast<float>(stored) * step); }
  Votes(Vote vote, float step) : vote(vote), step(step) {}
};
template <> struct Votes<uint8_t> {
  float of[256];
  float operator()(uint8_t stored) const { return of[stored]; }
  Votes(Vote vote, float step) {
    for (int stored = 0; stored < 256; ++stored) of[stored] = vote(static_cast<float>(stored) * step);
  }
};
