// Who of the tenants has had more of the machine than the others: fair queueing in virtual time, as
// in the Virtual Token Counter (Sheng et al., OSDI 2024) with predicted seconds instead of tokens.
// One thread.
//
// Each tenant's counter grows by what its requests cost over its share. Whoever comes (back) starts
// no lower than the least of those present: unused time is not saved up.
#pragma once

#include <map>
#include <string>

namespace edgewise::admission {

class FairShare {
 public:
  void enter(const std::string& tenant);  // one more request of it is here
  void leave(const std::string& tenant);
  // `seconds` of the machine; negative takes back what was charged too much.
  void charge(const std::string& tenant, double seconds, double share);

  // Seconds that the tenant is ahead of the least served one that has requests here; 0 or more.
  double lead(const std::string& tenant) const;

 private:
  struct Counter {
    double served = 0.0;
    int present = 0;
  };

  double least() const;  // of those present; the last known when nobody is

  std::map<std::string, Counter> counters_;
  double floor_ = 0.0;
};

}  // namespace edgewise::admission
