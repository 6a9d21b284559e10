// Policies as filters of data: what is left of a rule when a part of its input is unknown, as SQL or UCAST.
// @see https://www.openpolicyagent.org/docs/rest-api#compiling-a-rego-policy-and-query-into-data-filters
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/rego/compile"
	"github.com/open-policy-agent/opa/v1/storage"
)

type filtersRequest struct {
	sources
	Data  json.RawMessage  `json:"data"`
	Input *json.RawMessage `json:"input"`
	// Path of the rule, `package/rule`.
	Path string `json:"path"`
	// Unknowns are references such as `input.fruits`; empty: those of the rule's annotation, `compile.unknowns`.
	Unknowns []string `json:"unknowns"`
	// MaskRule is a reference, or a name in the rule's own package; empty: that of the annotation, `compile.mask_rule`.
	MaskRule        string         `json:"mask_rule"`
	Mappings        map[string]any `json:"mappings"`
	DisableInlining []string       `json:"disable_inlining"`
	// Targets are pairs of target and dialect, for example `sql` and `postgresql`.
	Targets [][2]string `json:"targets"`
}

type filterAnswer struct {
	Target  string         `json:"target"`
	Dialect string         `json:"dialect"`
	Defined bool           `json:"defined"`
	Query   any            `json:"query,omitempty"`
	Masks   map[string]any `json:"masks,omitempty"`
}

func filters(request filtersRequest) (any, error) {
	compiler, _, err := request.compile(nil)
	if err != nil {
		return nil, err
	}
	data, err := store(request.Data)
	if err != nil {
		return nil, err
	}
	path, ok := storage.ParsePathEscaped("/" + request.Path)
	if !ok || len(path) < 2 {
		return nil, fmt.Errorf("%q is not the path of a rule", request.Path)
	}
	rule := path.Ref(ast.DefaultRootDocument)
	annotated, err := annotationOf(compiler, rule)
	if err != nil {
		return nil, err
	}
	unknowns := annotated.unknowns
	if len(request.Unknowns) > 0 {
		unknowns = nil
	}
	for _, text := range request.Unknowns {
		ref, err := ast.ParseRef(text)
		if err != nil {
			return nil, err
		}
		unknowns = append(unknowns, ref)
	}
	terms := make([]*ast.Term, 0, len(unknowns))
	for _, ref := range unknowns {
		terms = append(terms, ast.NewTerm(ref))
	}
	options := []compile.CompileOption{
		compile.ParsedUnknowns(terms...),
		compile.ParsedQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(rule)))),
		compile.Mappings(request.Mappings),
		compile.Rego(rego.Compiler(compiler), rego.Store(data), rego.DisableInlining(request.DisableInlining)),
	}
	for _, target := range request.Targets {
		options = append(options, compile.Target(target[0], target[1]))
	}
	mask := annotated.maskRule
	if text := request.MaskRule; text != "" {
		if !strings.HasPrefix(text, "data.") {
			text = rule[:len(rule)-1].String() + "." + text
		}
		if mask, err = ast.ParseRef(text); err != nil {
			return nil, err
		}
	}
	if mask != nil {
		options = append(options, compile.MaskRule(mask))
	}
	prepared, err := compile.New(options...).Prepare(context.Background())
	if err != nil {
		return nil, err
	}
	evaluation := []rego.EvalOption{}
	if request.Input != nil {
		value, err := decode(*request.Input)
		if err != nil {
			return nil, err
		}
		input, err := ast.InterfaceToValue(value)
		if err != nil {
			return nil, err
		}
		evaluation = append(evaluation, rego.EvalParsedInput(input))
	}
	compiled, err := prepared.Compile(context.Background(), evaluation...)
	if err != nil {
		return nil, err
	}
	answers := make([]filterAnswer, 0, len(request.Targets))
	for _, target := range request.Targets {
		filter := compiled.For(target[0], target[1])
		answers = append(answers, filterAnswer{target[0], target[1], filter.Query != nil, filter.Query, filter.Masks})
	}
	return answers, nil
}

type filterAnnotation struct {
	unknowns []ast.Ref
	maskRule ast.Ref
}

// annotationOf reads the `compile` annotations of a rule, its document and its package.
func annotationOf(compiler *ast.Compiler, ref ast.Ref) (filterAnnotation, error) {
	found := filterAnnotation{}
	rules := compiler.GetRulesExact(ref)
	if len(rules) == 0 {
		return found, nil
	}
	for _, annotated := range compiler.GetAnnotationSet().Chain(rules[0]) {
		if annotated.Annotations == nil || annotated.Annotations.Compile == nil {
			continue
		}
		for _, unknown := range annotated.Annotations.Compile.Unknowns {
			if !unknown.HasPrefix(ast.DefaultRootRef) && !unknown.HasPrefix(ast.InputRootRef) {
				return found, ast.NewError("invalid_unknown", annotated.Annotations.Loc(), "unknowns must be prefixed with `input` or `data`: %v", unknown)
			}
			found.unknowns = append(found.unknowns, unknown)
		}
		if mask := annotated.Annotations.Compile.MaskRule; mask != nil && found.maskRule == nil {
			if !mask.HasPrefix(ast.DefaultRootRef) {
				mask = rules[0].Module.Package.Path.Extend(mask)
			}
			found.maskRule = mask
		}
	}
	return found, nil
}
