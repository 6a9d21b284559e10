// What an entrypoint can read, found by following the rules that it depends on.
//
// It errs on the side of too much: a reference with a variable part counts as its ground prefix, so the empty
// path means "everything". A decision can only depend on what is listed here.
package main

import (
	"sort"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/util"
)

// reads lists paths under `input` and under base documents of `data` (a path within another one listed is left
// out), all built-in functions called, and those among them whose result is not decided by their arguments.
type reads struct {
	Input            [][]string `json:"input"`
	Data             [][]string `json:"data"`
	Builtins         []string   `json:"builtins"`
	Nondeterministic []string   `json:"nondeterministic"`
}

func readsOf(compiler *ast.Compiler, entrypoint string) (*reads, error) {
	path, ok := storage.ParsePathEscaped("/" + strings.TrimPrefix(entrypoint, "/"))
	if !ok {
		return nil, ast.NewError(ast.CompileErr, nil, "entrypoint %v is not a path", entrypoint)
	}
	ref := path.Ref(ast.DefaultRootDocument)

	inputs, data := paths{}, paths{}
	builtins, nondeterministic := map[string]struct{}{}, map[string]struct{}{}
	seen := map[util.T]struct{}{}

	var follow func(node util.T)
	visit := func(rule *ast.Rule) {
		ast.WalkNodes(rule, func(node ast.Node) bool {
			if expr, ok := node.(*ast.Expr); ok && expr.IsCall() {
				call(expr.Operator().String(), builtins, nondeterministic)
			}
			return false
		})
		var visitTerm func(term *ast.Term) bool
		visitTerm = func(term *ast.Term) bool {
			switch value := term.Value.(type) {
			case ast.Call:
				call(value[0].String(), builtins, nondeterministic)
			case ast.Ref:
				// The head of a reference is not a use of the whole document; the rest may hold further terms.
				for _, part := range value[1:] {
					ast.WalkTerms(part, visitTerm)
				}
				switch {
				case value.HasPrefix(ast.InputRootRef):
					inputs.add(value)
				case value.HasPrefix(ast.DefaultRootRef):
					for _, rule := range compiler.GetRulesDynamic(value) {
						follow(rule)
					}
					if len(compiler.GetRulesForVirtualDocument(value.ConstantPrefix())) == 0 {
						data.add(value)
					}
				}
				return true
			case ast.Var:
				if value.Equal(ast.InputRootDocument.Value) {
					inputs.add(ast.InputRootRef)
				}
			}
			return false
		}
		ast.WalkTerms(rule, visitTerm)
	}
	follow = func(node util.T) {
		if _, ok := seen[node]; ok {
			return
		}
		seen[node] = struct{}{}
		if rule, ok := node.(*ast.Rule); ok {
			visit(rule)
		}
		for dependency := range compiler.Graph.Dependencies(node) {
			follow(dependency)
		}
	}
	for _, rule := range compiler.GetRules(ref) {
		follow(rule)
	}
	return &reads{
		Input:            inputs.minimal(),
		Data:             data.minimal(),
		Builtins:         util.KeysSorted(builtins),
		Nondeterministic: util.KeysSorted(nondeterministic),
	}, nil
}

// call notes a function when it is a built-in. crypto.x509.parse_and_verify_* compare with the clock without
// saying so in their declaration.
func call(name string, builtins, nondeterministic map[string]struct{}) {
	builtin, ok := ast.BuiltinMap[name]
	if !ok {
		return
	}
	builtins[name] = struct{}{}
	if builtin.Nondeterministic || strings.HasPrefix(name, "crypto.x509.parse_and_verify") {
		nondeterministic[name] = struct{}{}
	}
}

type paths map[string][]string

// add keeps the leading parts of a reference that are strings known at compile time.
func (p paths) add(ref ast.Ref) {
	path := []string{}
	for _, term := range ref[1:] {
		part, ok := term.Value.(ast.String)
		if !ok {
			break
		}
		path = append(path, string(part))
	}
	p[strings.Join(path, "\x00")] = path
}

func (p paths) minimal() [][]string {
	all := make([][]string, 0, len(p))
	for _, path := range p {
		all = append(all, path)
	}
	sort.Slice(all, func(i, j int) bool { return strings.Join(all[i], "\x00") < strings.Join(all[j], "\x00") })
	kept := [][]string{}
	for _, path := range all {
		covered := false
		for _, shorter := range kept {
			covered = covered || len(shorter) <= len(path) && strings.Join(path[:len(shorter)], "\x00") == strings.Join(shorter, "\x00")
		}
		if !covered {
			kept = append(kept, path)
		}
	}
	return kept
}
