// Rego values as text between a running policy and the built-in functions: JSON, and beside it sets in braces,
// `set()`, and keys that are not strings, as policy.wasm's opa_value_dump writes them and opa_value_parse reads them.
//
// Strings are raw bytes in both directions, valid UTF-8 or not, so that what base64.decode made reaches
// crypto.sha256 as it was.
package main

import (
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"
)

var (
	errValue = errors.New("not a value")
	errDepth = errors.New("a value nests too deeply")
)

// maxValueDepth bounds recursion; policy.wasm's own stack ends earlier.
const maxValueDepth = 10_000

type valueReader struct {
	text  string
	at    int
	depth int
}

// readValues reads values separated by commas to the end of the text.
func readValues(text string) ([]*ast.Term, error) {
	r := &valueReader{text: text}
	r.space()
	if r.at == len(text) {
		return nil, nil
	}
	return r.until(0)
}

// until reads terms separated by commas up to a closing byte; 0 is the end of the text.
func (r *valueReader) until(closing byte) ([]*ast.Term, error) {
	terms := make([]*ast.Term, 0, 4)
	for {
		term, err := r.value()
		if err != nil {
			return nil, err
		}
		terms = append(terms, term)
		if r.next(closing) {
			return terms, nil
		}
		if !r.next(',') {
			return nil, errValue
		}
	}
}

func (r *valueReader) space() {
	for r.at < len(r.text) && (r.text[r.at] == ' ' || r.text[r.at] == '\n' || r.text[r.at] == '\t' || r.text[r.at] == '\r') {
		r.at++
	}
}

// next passes over space and one byte, when it comes next.
func (r *valueReader) next(b byte) bool {
	r.space()
	if r.at == len(r.text) {
		return b == 0
	}
	if b == 0 || r.text[r.at] != b {
		return false
	}
	r.at++
	return true
}

func (r *valueReader) word(word string) bool {
	if len(r.text)-r.at < len(word) || r.text[r.at:r.at+len(word)] != word {
		return false
	}
	r.at += len(word)
	return true
}

func (r *valueReader) value() (*ast.Term, error) {
	r.space()
	if r.at == len(r.text) {
		return nil, errValue
	}
	if r.depth++; r.depth > maxValueDepth {
		return nil, errDepth
	}
	term, err := r.oneValue()
	r.depth--
	return term, err
}

func (r *valueReader) oneValue() (*ast.Term, error) {
	switch b := r.text[r.at]; {
	case b == '"':
		s, err := r.string()
		return ast.StringTerm(s), err
	case b == '[':
		r.at++
		if r.next(']') {
			return ast.InternedEmptyArray, nil
		}
		terms, err := r.until(']')
		return ast.ArrayTerm(terms...), err
	case b == '{':
		r.at++
		if r.next('}') {
			return ast.InternedEmptyObject, nil
		}
		return r.objectOrSet()
	case b == '-' || b == '.' || b >= '0' && b <= '9':
		return r.number(), nil
	case r.word("true"):
		return ast.InternedTerm(true), nil
	case r.word("false"):
		return ast.InternedTerm(false), nil
	case r.word("null"):
		return ast.InternedNullTerm, nil
	case r.word("set("):
		if r.next(')') {
			return ast.InternedEmptySet, nil
		}
	}
	return nil, errValue
}

func (r *valueReader) objectOrSet() (*ast.Term, error) {
	first, err := r.value()
	if err != nil {
		return nil, err
	}
	if !r.next(':') {
		terms := []*ast.Term{first}
		if r.next(',') {
			rest, err := r.until('}')
			if err != nil {
				return nil, err
			}
			terms = append(terms, rest...)
		} else if !r.next('}') {
			return nil, errValue
		}
		return ast.SetTerm(terms...), nil
	}
	items := make([][2]*ast.Term, 0, 8)
	for key := first; ; {
		value, err := r.value()
		if err != nil {
			return nil, err
		}
		items = append(items, ast.Item(key, value))
		if r.next('}') {
			return ast.ObjectTerm(items...), nil
		}
		if !r.next(',') {
			return nil, errValue
		}
		if key, err = r.value(); err != nil {
			return nil, err
		}
		if !r.next(':') {
			return nil, errValue
		}
	}
}

func (r *valueReader) number() *ast.Term {
	from := r.at
	for r.at < len(r.text) {
		b := r.text[r.at]
		if b >= '0' && b <= '9' || b == '-' || b == '+' || b == '.' || b == 'e' || b == 'E' {
			r.at++
			continue
		}
		break
	}
	return ast.NewTerm(ast.Number(r.text[from:r.at]))
}

// string reads one string; the text stays as it is where nothing is escaped.
func (r *valueReader) string() (string, error) {
	r.at++
	from := r.at
	for ; r.at < len(r.text); r.at++ {
		switch r.text[r.at] {
		case '"':
			r.at++
			return r.text[from : r.at-1], nil
		case '\\':
			return r.escaped(append(make([]byte, 0, r.at-from+16), r.text[from:r.at]...))
		}
	}
	return "", errValue
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (r *valueReader) escaped(bytes []byte) (string, error) {
	for r.at < len(r.text) {
		b := r.text[r.at]
		r.at++
		if b == '"' {
			return string(bytes), nil
		}
		if b != '\\' {
			bytes = append(bytes, b)
			continue
		}
		if r.at == len(r.text) {
			return "", errValue
		}
		b = r.text[r.at]
		r.at++
		if plain := escapes[b]; plain != 0 {
			bytes = append(bytes, plain)
			continue
		}
		if b != 'u' {
			return "", errValue
		}
		char, ok := r.unit()
		if ok && utf16.IsSurrogate(char) && r.word("\\u") {
			var low rune
			low, ok = r.unit()
			char = utf16.DecodeRune(char, low)
		}
		if !ok {
			return "", errValue
		}
		bytes = utf8.AppendRune(bytes, char)
	}
	return "", errValue
}

func (r *valueReader) unit() (rune, bool) {
	if len(r.text)-r.at < 4 {
		return 0, false
	}
	unit, err := strconv.ParseUint(r.text[r.at:r.at+4], 16, 16)
	r.at += 4
	return rune(unit), err == nil
}

// appendValue writes a value; strings that are not UTF-8 get U+FFFD for each byte that is not, since
// opa_value_parse refuses them.
func appendValue(out []byte, value ast.Value) []byte {
	switch v := value.(type) {
	case ast.Null:
		return append(out, "null"...)
	case ast.Boolean:
		return strconv.AppendBool(out, bool(v))
	case ast.Number:
		if !json.Valid([]byte(v)) {
			v = writable(v)
		}
		return append(out, v...)
	case ast.String:
		return appendString(out, string(v))
	case *ast.Array:
		out = append(out, '[')
		for i := range v.Len() {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendValue(out, v.Elem(i).Value)
		}
		return append(out, ']')
	case ast.Set:
		if v.Len() == 0 {
			return append(out, "set()"...)
		}
		separator := byte('{')
		v.Foreach(func(element *ast.Term) {
			out = appendValue(append(out, separator), element.Value)
			separator = ','
		})
		return append(out, '}')
	case ast.Object:
		separator := byte('{')
		v.Foreach(func(key, element *ast.Term) {
			out = appendValue(append(out, separator), key.Value)
			out = appendValue(append(out, ':'), element.Value)
			separator = ','
		})
		if separator == '{' {
			out = append(out, '{')
		}
		return append(out, '}')
	}
	panic("a result of type " + ast.ValueName(value))
}

// writable is the same number as JSON can write it: to_number("01") is 01.
func writable(n ast.Number) ast.Number {
	if integer, ok := new(big.Int).SetString(string(n), 10); ok {
		return builtins.IntToNumber(integer)
	}
	return builtins.FloatToNumber(builtins.NumberToFloat(n))
}

const hexDigits = "0123456789abcdef"

func appendString(out []byte, s string) []byte {
	out = append(out, '"')
	from := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b >= utf8.RuneSelf {
			char, size := utf8.DecodeRuneInString(s[i:])
			if char == utf8.RuneError && size == 1 {
				out = append(append(out, s[from:i]...), "\ufffd"...)
				from = i + 1
			}
			i += size
			continue
		}
		if b < ' ' || b == '"' || b == '\\' {
			out = append(out, s[from:i]...)
			if b < ' ' {
				out = append(out, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
			} else {
				out = append(out, '\\', b)
			}
			from = i + 1
		}
		i++
	}
	return append(append(out, s[from:]...), '"')
}
