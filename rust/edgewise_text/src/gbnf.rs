//! GBNF to Lark.
pub fn to_lark(_source: &str) -> Result<String, String> {
    Err("GBNF grammars are not supported yet".to_string())
}
