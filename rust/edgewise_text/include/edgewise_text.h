/* C interface of the Rust crate edgewise_text: Hugging Face chat templates (minijinja) and constrained decoding
 * (llguidance). src/text/chat_template.cc and src/sampling/grammar.cc are its only users.
 *
 * Rules that hold for every function:
 *  - Text is UTF-8 with an explicit size in bytes, not zero-terminated; invalid UTF-8 is an error.
 *  - Inputs are borrowed for the duration of the call. Everything handed out is owned by the caller and goes back
 *    through the matching _free function, exactly once; a null pointer there is allowed and ignored.
 *  - Panics do not cross the border: they become EDGEWISE_INTERNAL with a message.
 *  - Work and memory are bounded for any input; what exceeds a bound is EDGEWISE_LIMIT with a message.
 */
#ifndef EDGEWISE_TEXT_H
#define EDGEWISE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum edgewise_status {
  EDGEWISE_OK = 0,
  EDGEWISE_INVALID = 1,  /* the template, the grammar or the values given to it are wrong */
  EDGEWISE_LIMIT = 2,    /* a bound on size, depth or work was reached */
  EDGEWISE_INTERNAL = 3, /* a panic: a bug in this crate or below */
  EDGEWISE_BUSY = 4,     /* others hold what it needs; the same call may work later */
} edgewise_status;

/* Bytes owned by the caller; `data` may be null when `size` is 0. */
typedef struct edgewise_bytes {
  uint8_t* data;
  size_t size;
} edgewise_bytes;

/* Gives `bytes` back and leaves it empty. */
void edgewise_bytes_free(edgewise_bytes* bytes);

/* ---- chat templates ---------------------------------------------------------------------------------------- */

/* A compiled template: immutable, may be rendered by several threads at once. */
typedef struct edgewise_template edgewise_template;

/* Compiles a Jinja chat template of at most 256 KiB. On EDGEWISE_OK sets *out; otherwise `error` holds the reason
 * with the line. */
edgewise_status edgewise_template_compile(const char* source,
                                          size_t source_size,
                                          edgewise_template** out,
                                          edgewise_bytes* error);

/* Renders with the members of the JSON object `context` as variables; `unix_seconds` is the moment that
 * strftime_now shows, in the local time zone. `output` receives the text on EDGEWISE_OK, else the reason.
 * A template that exceeds its time (10 s) or memory (256 MB, and more for long contexts) is disabled: later calls
 * fail at once with EDGEWISE_LIMIT. */
edgewise_status edgewise_template_render(const edgewise_template* compiled,
                                         const char* context,
                                         size_t context_size,
                                         int64_t unix_seconds,
                                         edgewise_bytes* output);

void edgewise_template_free(edgewise_template* compiled);

/* ---- constrained decoding ---------------------------------------------------------------------------------- */

/* The vocabulary as a trie: immutable after creation, may make matchers on several threads at once. */
typedef struct edgewise_grammars edgewise_grammars;

/* State of one constrained sequence: one thread at a time. Keeps what it needs of the vocabulary alive. */
typedef struct edgewise_matcher edgewise_matcher;

typedef enum edgewise_grammar_kind {
  EDGEWISE_JSON_SCHEMA = 0,
  EDGEWISE_REGEX = 1,
  EDGEWISE_LARK = 2,
  EDGEWISE_GBNF = 3,
} edgewise_grammar_kind;

/* Token i has the bytes bytes[offsets[i] .. offsets[i + 1]); `offsets` has count + 1 ascending entries. Tokens
 * without bytes never match text. Control tokens (is_control[i] != 0) match no text either; a Lark grammar may
 * name them, by their bytes, as <name>. `end_tokens` (at least one) end the text when the grammar may end. */
edgewise_status edgewise_grammars_create(const uint8_t* bytes,
                                         const size_t* offsets,
                                         const uint8_t* is_control,
                                         size_t count,
                                         const uint32_t* end_tokens,
                                         size_t end_token_count,
                                         edgewise_grammars** out,
                                         edgewise_bytes* error);

void edgewise_grammars_free(edgewise_grammars* grammars);

/* Compiles a grammar of at most 128 KiB. EDGEWISE_INVALID or EDGEWISE_LIMIT: `error` says why. What takes over 5 s is
 * EDGEWISE_LIMIT, and so at once when it comes again; EDGEWISE_BUSY when the machine had no time for it, or after 1 s
 * when other calls were waiting already. It then goes on at idle priority. Six grammars may be at it at once, and three of one `owner` (empty: not told from others);
 * more are EDGEWISE_BUSY at once. */
edgewise_status edgewise_matcher_compile(const edgewise_grammars* grammars,
                                         const char* owner,
                                         size_t owner_size,
                                         edgewise_grammar_kind kind,
                                         const char* text,
                                         size_t text_size,
                                         edgewise_matcher** out,
                                         edgewise_bytes* error);

/* Sets the logits of tokens that may not come next to -infinity; entries past the vocabulary too. *allowed
 * receives how many tokens may come. After an error the matcher stays in error. */
edgewise_status edgewise_matcher_mask(
    edgewise_matcher* matcher, float* logits, size_t count, size_t* allowed, edgewise_bytes* error);

/* Appends a token. EDGEWISE_INVALID: the grammar does not allow it here. */
edgewise_status edgewise_matcher_accept(edgewise_matcher* matcher,
                                        uint32_t token,
                                        edgewise_bytes* error);

/* 1 when nothing but the end may come, else 0. */
int edgewise_matcher_is_complete(const edgewise_matcher* matcher);

void edgewise_matcher_free(edgewise_matcher* matcher);

#ifdef __cplusplus
}
#endif

#endif
