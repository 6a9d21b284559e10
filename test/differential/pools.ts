// Strings that mean something to a function, by the beginning of the function's name.

// biome-ignore format: rows of a table
const pools: readonly (readonly [prefix: string, ...strings: string[]])[] = [
  ['base64', 'YWJj', 'YQ==', 'YQ', 'YW-_', 'YW+/', '====', 'Y W', 'YWJj\n', '/w==', '_w=='],
  ['hex', '616263', 'ff', 'F', 'zz', '00', 'DEADbeef'],
  ['urlquery', 'a=b&c=d', 'a=1&a=2', '%41%zz', 'a+b', '%', 'ä=ö', '=', 'a;b=c'],
  ['json', '{"a": 1, "b": [1.0, 1e3]}', '[1,2', '1 2', '{"a":1,"a":2}', '1e400', '/a/b', 'a/b', '/a/0', '/~1~0', 'op', 'add', 'remove', 'path', '{"type": "object", "properties": {"a": {"type": "number"}}}', '"x"', 'a', ' 1 ', '01', '.5', '1.', '\ud800'],
  ['yaml', 'a: 1\nb: [x, y]', '- 1\n- 2.0', '{', 'a: &x 1\nb: *x', 'yes', '0o17', '1e3', '"é"', 'a:\n  - b', '~', '!!binary YQ==', '- a: 1\n- b'],
  ['time', '2006-01-02T15:04:05Z07:00', '2026-03-04T12:30:15Z', '2026-13-01T00:00:00Z', 'RFC3339', 'UnixDate', 'ANSIC', 'UTC', 'Europe/Vienna', 'America/New_York', 'Local', '', '1h30m', '-1.5s', '1d', '2026-03-04T12:30:15+02:00', '1677-09-21T00:12:43Z'],
  ['net.cidr_expand', '10.1.2.0/30', '::1/128', 'fe80::/125', '10.0.0.0/33', '10.0.0', '192.168.1.1', '1.2.3.4/32', '10.9.8.7/28', '10.1.2.3'],
  ['net', '10.0.0.0/8', '10.1.2.3', '10.1.2.0/30', '::1/128', 'fe80::/125', '10.0.0.0/33', '10.0.0', '2001:db8::/126', '192.168.1.1', '::ffff:10.0.0.1', '10.0.0.1/8', '1.2.3.4/32'],
  ['regex', '^a.*c$', '[a-c]+', '(a)(b)?', '(?i)ABC', '\\d+', '[', '(', 'a{2,3}', '.', '', '\\pL', '(?P<n>x)', 'a|b', '$1', '{', '}', 'a{.*}b', '\\bx', '(?s).*', 'x*'],
  ['re_match', '^a.*c$', '[a-c]+', '[', '(?i)ABC'],
  ['glob', '*', '**', 'a?c', '{a,b}c', '[a-c]', '[!a]', 'a.*.c', '/api/*/users', '\\*', '{', '[', '*.b', 'a.b.c', '/api/v1/users', ':', '.', '/', '{a*,**b}'],
  ['semver', '1.2.3', '1.2.3-alpha.1', '1.10.0', 'v1.2.3', '1.2', '1.2.3+build', '01.2.3', '1.2.3-0.3.7'],
  ['units', '1K', '1Ki', '10M', '1.5Gi', '100m', 'x', '1 K', '1e3', '-1K', '0.1E', '10MB', '1KiB', '  1', '1Q'],
  ['uuid', '00000000-0000-4000-8000-000000000000', '000003e8-48b9-21ee-b200-325096b39f47', 'urn:uuid:000003e8-48b9-21ee-b200-325096b39f47', 'x'],
  ['uri', 'https://user:pw@example.com:8443/a/b?q=1&r=2#f', 'http://exa%6dple.com/', '//x/y', 'mailto:a@b', 'http://[::1]:80/', 'a b', '/a%27b', 'http://a<b@c/', ''],
  ['graphql', 'query { a { b } }', 'type Query { a: Int }', 'type Query { a: A } type A { b: Int }', '{', '', 'query q($x: Int!) { a(x: $x) }'],
  ['crypto.parse', '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n', 'x', '-----BEGIN'],
  ['crypto.x509', '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n', 'x', 'YQ==', '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n'],
  ['io.jwt', 'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c', 'your-256-bit-secret', 'eyJhbGciOiJub25lIn0.e30.', 'a.b.c', 'eyJhbGciOiJIUzI1NiJ9.e30.', 'x'],
  ['sprintf', '%d', '%s', '%v', '%5.2f', '%x', '%q', '%t', '%%', '%e', '%d %s', '%-5s|', '%05d', '%[2]d %[1]d', '%c', '%U', '%b', '%T', '%!', '%'],
  ['strings.render_template', '{{ .a }}', '{{ range .a }}{{ . }},{{ end }}', '{{ if .b }}x{{ else }}y{{ end }}', '{{', '{{ .x.y }}', 'plain'],
  ['to_number', '1', '1.5', '-0', '1e5', ' 1', '0x10', 'Inf', 'NaN', '1.', '.5', '+1', '01', '', '1_0', '1e400', '9007199254740993'],
  ['rego.parse_module', 'package a\n\np := 1', 'package a\n\np if {', ''],
  ['trim', 'a', 'abc', ' ', 'é', 'xax', 'ab', '\u2003x'],
  ['format_int', '10'],
]

/** Strings for the arguments of a function, besides any others. */
export function poolOf(name: string): readonly string[] {
  return pools.find(([prefix]) => name.startsWith(prefix))?.slice(1) ?? []
}
