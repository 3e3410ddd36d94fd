//! Chat templates and constrained decoding behind the C interface of `include/edgewise_text.h`, which documents
//! every exported function: ownership, threads and limits are stated there and not repeated here.

mod abi;
mod gbnf;
mod gbnf_chars;
mod gbnf_lexemes;
mod gbnf_reader;
#[cfg(test)]
mod gbnf_test;
mod grammar;
mod places;
mod python;
mod sandbox;
mod template;
