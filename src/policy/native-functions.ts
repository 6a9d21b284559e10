// Which built-in functions run inside policy.wasm, in OPA's C, and how far they give what OPA's own evaluator gives.
// Found by comparing the two on generated arguments (test/differential/builtins.ts); see exact-runtime.ts for the use.

/**
 * How far a native function can be trusted. An argument outside what is named here goes to the host.
 * - `exact`: for all arguments.
 * - `integers`: where the numbers among its arguments are integers of at most 15 digits, written plainly.
 * - `elements`: where its argument holds only such integers, strings, booleans and nulls, at most 64 of them.
 * - `needle`: where its second argument is not the empty string.
 * - `array`: where its second argument is not a set.
 * - `never`: the host always answers.
 */
export type Trust = 'exact' | 'integers' | 'elements' | 'needle' | 'array' | 'never'

export interface NativeFunction {
  /** Rego's name. Where two share a C function, the one that is not deprecated. */
  readonly builtin: string
  /** Name of the C function in the name section of policy.wasm. */
  readonly symbol: string
  readonly parameters: number
  readonly trust: Trust
}

type Row = readonly [builtin: string, symbol: string, parameters: number]

const exact: readonly Row[] = [
  ['array.concat', 'opa_array_concat', 2],
  ['array.flatten', 'opa_array_flatten', 1],
  ['array.reverse', 'opa_array_reverse', 1],
  ['and', 'opa_set_intersection', 2],
  ['or', 'opa_set_union', 2],
  ['is_number', 'opa_types_is_number', 1],
  ['is_string', 'opa_types_is_string', 1],
  ['is_boolean', 'opa_types_is_boolean', 1],
  ['is_array', 'opa_types_is_array', 1],
  ['is_set', 'opa_types_is_set', 1],
  ['is_object', 'opa_types_is_object', 1],
  ['is_null', 'opa_types_is_null', 1],
  ['type_name', 'opa_types_name', 1],
  ['count', 'opa_agg_count', 1],
  ['all', 'opa_agg_all', 1],
  ['any', 'opa_agg_any', 1],
  ['base64.encode', 'opa_base64_encode', 1],
  ['base64url.encode', 'opa_base64_url_encode', 1],
  ['equal', 'opa_cmp_eq', 2],
  ['gt', 'opa_cmp_gt', 2],
  ['gte', 'opa_cmp_gte', 2],
  ['lt', 'opa_cmp_lt', 2],
  ['lte', 'opa_cmp_lte', 2],
  ['neq', 'opa_cmp_neq', 2],
  ['object.filter', 'builtin_object_filter', 2],
  ['object.get', 'builtin_object_get', 3],
  ['object.keys', 'builtin_object_keys', 1],
  ['object.remove', 'builtin_object_remove', 2],
  ['lower', 'opa_strings_lower', 1],
  ['upper', 'opa_strings_upper', 1],
  ['contains', 'opa_strings_contains', 2],
  ['startswith', 'opa_strings_startswith', 2],
  ['endswith', 'opa_strings_endswith', 2],
  ['strings.reverse', 'opa_strings_reverse', 1],
  ['split', 'opa_strings_split', 2],
  ['strings.replace_n', 'opa_strings_replace_n', 2],
  ['trim', 'opa_strings_trim', 2],
  ['trim_left', 'opa_strings_trim_left', 2],
  ['trim_prefix', 'opa_strings_trim_prefix', 2],
  ['trim_right', 'opa_strings_trim_right', 2],
  ['trim_suffix', 'opa_strings_trim_suffix', 2],
  ['trim_space', 'opa_strings_trim_space', 1],
  ['graph.reachable', 'builtin_graph_reachable', 2],
  ['internal.member_2', 'builtin_member', 2],
  ['internal.member_3', 'builtin_member3', 3],
]

const integers: readonly Row[] = [
  ['plus', 'opa_arith_plus', 2],
  ['minus', 'opa_arith_minus', 2],
  ['mul', 'opa_arith_multiply', 2],
  ['rem', 'opa_arith_rem', 2],
  ['abs', 'opa_arith_abs', 1],
  ['round', 'opa_arith_round', 1],
  ['ceil', 'opa_arith_ceil', 1],
  ['floor', 'opa_arith_floor', 1],
  ['array.slice', 'opa_array_slice', 3],
  ['bits.or', 'opa_bits_or', 2],
  ['bits.and', 'opa_bits_and', 2],
  ['bits.negate', 'opa_bits_negate', 1],
  ['bits.xor', 'opa_bits_xor', 2],
  ['substring', 'opa_strings_substring', 3],
  ['numbers.range', 'opa_numbers_range', 2],
]

const elements: readonly Row[] = [
  ['sum', 'opa_agg_sum', 1],
  ['product', 'opa_agg_product', 1],
  ['max', 'opa_agg_max', 1],
  ['min', 'opa_agg_min', 1],
  ['sort', 'opa_agg_sort', 1],
]

const needle: readonly Row[] = [
  ['indexof', 'opa_strings_indexof', 2],
  ['replace', 'opa_strings_replace', 3],
]

const array: readonly Row[] = [['concat', 'opa_strings_concat', 2]]

const never: readonly Row[] = [
  ['union', 'opa_sets_union', 1],
  ['intersection', 'opa_sets_intersection', 1],
  ['to_number', 'opa_to_number', 1],
  ['object.union', 'builtin_object_union', 2],
  ['net.cidr_intersects', 'opa_cidr_intersects', 2],
  ['net.cidr_contains', 'opa_cidr_contains', 2],
  ['internal.template_string', 'opa_template_string', 1],
  ['format_int', 'opa_strings_format_int', 2],
  ['div', 'opa_arith_divide', 2],
  ['bits.lsh', 'opa_bits_shiftleft', 2],
  ['bits.rsh', 'opa_bits_shiftright', 2],
  ['base64.is_valid', 'opa_base64_is_valid', 1],
  ['base64.decode', 'opa_base64_decode', 1],
  ['base64url.decode', 'opa_base64_url_decode', 1],
  ['glob.match', 'opa_glob_match', 3],
  ['json.marshal', 'opa_json_marshal', 1],
  ['json.unmarshal', 'opa_json_unmarshal', 1],
  ['json.is_valid', 'opa_json_is_valid', 1],
  ['object.union_n', 'builtin_object_union_n', 1],
  ['regex.is_valid', 'opa_regex_is_valid', 1],
  ['regex.match', 'opa_regex_match', 2],
  ['regex.find_all_string_submatch_n', 'opa_regex_find_all_string_submatch', 3],
  ['json.remove', 'builtin_json_remove', 2],
  ['json.filter', 'builtin_json_filter', 2],
]

const rows = { exact, integers, elements, needle, array, never } as const

/** Every native function; the index in this list is how a policy names it to the host. */
export const nativeFunctions: readonly NativeFunction[] = Object.entries(rows).flatMap(([trust, list]) =>
  list.map(([builtin, symbol, parameters]) => ({ builtin, symbol, parameters, trust: trust as Trust })),
)
