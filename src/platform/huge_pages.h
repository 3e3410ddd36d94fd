// Memory in huge pages in place of a mapped file's small ones. The file systems of most machines map a file in pages of
// 4 KiB; a program that streams a gigabyte a step then waits for address translation, in a virtual machine most of all.
#pragma once

#include <cstddef>
#include <span>
#include <stop_token>

namespace edgewise::platform {

// Copies `mapping`, part of a private read-only mapping, into huge pages and puts them in its place, piece by piece: the
// same bytes at the same addresses, so that other threads may read on meanwhile. Takes 32 MiB beside what it replaces.
// What does not fill huge pages at either end stays as it is. Returns the bytes replaced: fewer when stopped, when
// memory ran out, or 0 when this kernel has no huge pages to give.
std::size_t replace_by_huge_pages(std::span<const std::byte> mapping, const std::stop_token& stop);

}  // namespace edgewise::platform
