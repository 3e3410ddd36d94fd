#include "store/reference.h"

#include "store/store.h"
#include "store/test_support.h"

namespace edgewise::store {
namespace {

using ReferenceTest = StoreTest;

TEST(Reference, CatalogueNamesAreKnown) {
  const Reference reference = parse_reference("smollm2").value();
  ASSERT_TRUE(std::holds_alternative<const CatalogueModel*>(reference));
  EXPECT_EQ(std::get<const CatalogueModel*>(reference)->name, "smollm2");
}

TEST_F(ReferenceTest, AnExistingPathIsALocalModel) {
  const auto path = write("My Model.GGUF", "x");
  const Reference reference = parse_reference(path.string()).value();
  ASSERT_TRUE(std::holds_alternative<LocalReference>(reference));
  EXPECT_EQ(default_name(reference), "my-model");
}

TEST(Reference, UrlNamesItsFileWithoutQuery) {
  const Reference reference =
      parse_reference("https://host.example/a/b/m-q4.gguf?download=true/x").value();
  ASSERT_TRUE(std::holds_alternative<UrlReference>(reference));
  EXPECT_EQ(std::get<UrlReference>(reference).file_name, "m-q4.gguf");
  EXPECT_EQ(default_name(reference), "m-q4");
}

TEST(Reference, HubReferencesHaveOwnerRepoAndFile) {
  const Reference reference = parse_reference("owner/repo-GGUF/sub/m.gguf").value();
  ASSERT_TRUE(std::holds_alternative<HubReference>(reference));
  const auto& hub = std::get<HubReference>(reference);
  EXPECT_EQ(hub.owner, "owner");
  EXPECT_EQ(hub.repo, "repo-GGUF");
  EXPECT_EQ(hub.file, "sub/m.gguf");
  EXPECT_EQ(hub_url(hub, "https://hub.example/").value(),
            "https://hub.example/owner/repo-GGUF/resolve/main/sub/m.gguf");
}

TEST(Reference, AHubNeedsAnAddress) {
  const HubReference hub{"o", "r", "f.gguf"};
  EXPECT_EQ(hub_url(hub, "").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(hub_url(hub, "http://plain.example").error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(hub_url(hub, "").error().message.find("HF_ENDPOINT"), std::string::npos);
}

TEST(Reference, HubFilesAreEscapedInAddresses) {
  EXPECT_EQ(hub_url({"o", "r", "a+b#c.gguf"}, "https://h").value(),
            "https://h/o/r/resolve/main/a%2Bb%23c.gguf");
}

TEST(Reference, WhatIsNothingIsNotFound) {
  for (const char* text : {"no-such-model", "a/b", "../../etc/shadow.gguf/../x",
                           "owner/repo/../../x", "/no/such/file"}) {
    EXPECT_EQ(parse_reference(text).error().code, ErrorCode::kNotFound) << text;
  }
  EXPECT_EQ(parse_reference("http://host/x.gguf").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(parse_reference("https://host/").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(parse_reference("https://host/a b").error().code, ErrorCode::kInvalidArgument);
}

TEST(Reference, AnyPartOfASplitModelNamesAll) {
  const std::vector<std::string> parts = parts_of("m-00002-of-00003.gguf").value();
  EXPECT_EQ(parts, (std::vector<std::string>{"m-00001-of-00003.gguf", "m-00002-of-00003.gguf",
                                             "m-00003-of-00003.gguf"}));
  EXPECT_EQ(parts_of("m-q4.gguf").value(), std::vector<std::string>{"m-q4.gguf"});
  EXPECT_EQ(parts_of("m-00004-of-00003.gguf").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(parts_of("m-00001-of-99999.gguf").error().code, ErrorCode::kInvalidArgument);
}

TEST(Reference, NamesMadeFromFilesAreValid) {
  for (const char* file : {"...gguf", "-.gguf", "Ünï cödé.gguf", ".gguf", "a/b"}) {
    EXPECT_TRUE(is_valid_name(default_name(LocalReference{file}))) << file;
  }
}

}  // namespace
}  // namespace edgewise::store
