// The table of one instruction set, made of the functions defined before in the same namespace.
inline constexpr KernelTable make_table(std::string_view name) {
  KernelTable table{};
  table.name = name;
  table.quantize_row = quantize_row;
  table.matmul = matmul;
  table.scan_planes = scan_planes;
  table.low_part = low_part;
  table.attention = attention;
  table.attention_merge = attention_merge;
  table.store_kv = store_kv;
  table.rms_norm = rms_norm;
  table.layer_norm = layer_norm;
  table.silu_mul = silu_mul;
  table.gelu_mul = gelu_mul;
  table.gelu_erf_mul = gelu_erf_mul;
  table.add = add;
  table.add_scaled = add_scaled;
  table.scale = scale;
  table.softcap = softcap;
  table.softmax = softmax;
  table.rope = rope;
  return table;
}
