// Patterns of regex.match and glob.match as programs for the host, which runs them on strings where they are, without
// a call (src/policy/pattern-matcher.ts).
//
// A regular expression is parsed and compiled by Go's own package, as OPA does it, so that the program means what OPA
// means. A glob becomes a regular expression first: what it matches is the same language.
package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gobwas/glob"
	globsyntax "github.com/gobwas/glob/syntax"
	"github.com/open-policy-agent/opa/v1/ast"
)

// Names under which the host asks for programs, beside those of OPA's functions: pattern, and for globs delimiters.
const (
	regexProgram = "verdict.regex_program"
	globProgram  = "verdict.glob_program"
)

// Larger programs are left to OPA.
const (
	maxInstructions = 1_000
	maxRanges       = 4_000
)

// program is what Go's regexp/syntax calls a Prog. An instruction is [operation, out, argument]; of the operation
// `runes` also the ranges that it accepts: first, last, first, last…
type program struct {
	Start int `json:"start"`
	// Anchored: a match begins where the text begins.
	Anchored     bool    `json:"anchored"`
	Instructions [][]int `json:"instructions"`
}

const (
	opAlternative = iota
	opEmptyWidth
	opMatch
	opFail
	opNothing
	opRunes
)

// patternProgram answers as a built-in function does (builtins.go): S and JSON text, or U where there is no program and
// OPA's function has to be asked.
func patternProgram(name string, operands []*ast.Term, answer []byte) []byte {
	answer = append(answer, 'U')
	pattern, ok := operands[0].Value.(ast.String)
	if !ok || !utf8.ValidString(string(pattern)) {
		return answer
	}
	expression := string(pattern)
	if name == globProgram {
		delimiters, _ := operands[1].Value.(ast.String)
		if expression, ok = globExpression(expression, []rune(string(delimiters))); !ok {
			return answer
		}
	}
	compiled := compilePattern(expression)
	if compiled == nil {
		return answer
	}
	text, err := json.Marshal(compiled)
	if err != nil {
		return answer
	}
	return append(append(answer[:0], 'S'), text...)
}

func compilePattern(expression string) *program {
	if _, err := regexp.Compile(expression); err != nil {
		return nil
	}
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return nil
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(prog.Inst) > maxInstructions {
		return nil
	}
	result := &program{Start: prog.Start, Anchored: prog.StartCond()&syntax.EmptyBeginText != 0}
	ranges := 0
	for i := range prog.Inst {
		inst := instruction(&prog.Inst[i])
		ranges += len(inst) / 2
		result.Instructions = append(result.Instructions, inst)
	}
	if ranges > maxRanges {
		return nil
	}
	return result
}

func instruction(inst *syntax.Inst) []int {
	out, arg := int(inst.Out), int(inst.Arg)
	switch inst.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		return []int{opAlternative, out, arg}
	case syntax.InstEmptyWidth:
		return []int{opEmptyWidth, out, arg}
	case syntax.InstMatch:
		return []int{opMatch, 0, 0}
	case syntax.InstFail:
		return []int{opFail, 0, 0}
	case syntax.InstCapture, syntax.InstNop:
		return []int{opNothing, out, 0}
	}
	accepted := []int{opRunes, out, 0}
	switch {
	case inst.Op == syntax.InstRuneAny:
		return append(accepted, 0, unicode.MaxRune)
	case inst.Op == syntax.InstRuneAnyNotNL:
		return append(accepted, 0, '\n'-1, '\n'+1, unicode.MaxRune)
	case len(inst.Rune) == 1:
		first := inst.Rune[0]
		accepted = append(accepted, int(first), int(first))
		if syntax.Flags(inst.Arg)&syntax.FoldCase != 0 {
			for r := unicode.SimpleFold(first); r != first; r = unicode.SimpleFold(r) {
				accepted = append(accepted, int(r), int(r))
			}
		}
		return accepted
	}
	for _, r := range inst.Rune {
		accepted = append(accepted, int(r))
	}
	return accepted
}

// globExpression writes a glob as a regular expression of Go's syntax. False where it is no glob.
func globExpression(pattern string, delimiters []rune) (string, bool) {
	if _, err := glob.Compile(pattern, delimiters...); err != nil {
		return "", false
	}
	const any = `(?s:.)`
	single := any
	if len(delimiters) > 0 {
		single = "[^" + class(delimiters...) + "]"
	}
	var expression strings.Builder
	expression.WriteString(`\A(?:`)
	lexer := globsyntax.NewLexer(pattern)
	for {
		token := lexer.Next()
		switch token.Type {
		case globsyntax.EOF:
			expression.WriteString(`)\z`)
			return expression.String(), true
		case globsyntax.Any:
			expression.WriteString(single + "*")
		case globsyntax.Super:
			expression.WriteString(any + "*")
		case globsyntax.Single:
			expression.WriteString(single)
		case globsyntax.TermsOpen:
			expression.WriteString("(?:")
		case globsyntax.TermSeparator:
			expression.WriteString("|")
		case globsyntax.TermsClose:
			expression.WriteString(")")
		case globsyntax.RangeOpen:
			text, ok := globClass(lexer)
			if !ok {
				return "", false
			}
			expression.WriteString(text)
		case globsyntax.Text:
			expression.WriteString(regexp.QuoteMeta(token.Data))
		default:
			return "", false
		}
	}
}

// globClass reads what stands between [ and ].
func globClass(lexer *globsyntax.Lexer) (string, bool) {
	open, members := "[", ""
	for {
		token := lexer.Next()
		switch token.Type {
		case globsyntax.Not:
			open = "[^"
		case globsyntax.Text:
			members += class([]rune(token.Data)...)
		case globsyntax.RangeLo, globsyntax.RangeHi:
			members += class([]rune(token.Data)...)
		case globsyntax.RangeBetween:
			members += "-"
		case globsyntax.RangeClose:
			return open + members + "]", members != ""
		default:
			return "", false
		}
	}
}

// class writes characters as members of a character class.
func class(runes ...rune) string {
	var text strings.Builder
	for _, r := range runes {
		fmt.Fprintf(&text, `\x{%x}`, r)
	}
	return text.String()
}
