// One evaluation by OPA's own evaluator: the oracle in tests, and the source of explanations.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/lineage"
)

type evalRequest struct {
	sources
	Data json.RawMessage `json:"data"`
	// Input is JSON text; absent means that `input` is undefined.
	Input               *json.RawMessage `json:"input"`
	Entrypoint          string           `json:"entrypoint"`
	StrictBuiltinErrors bool             `json:"strict_builtin_errors"`
	// Explain is notes, fails or full; empty: no trace.
	Explain string `json:"explain"`
	// TimeNs is the instant of the evaluation in nanoseconds since 1970, as text; empty: now.
	TimeNs string `json:"time_ns"`
}

type evalAnswer struct {
	Defined bool            `json:"defined"`
	Result  json.RawMessage `json:"result,omitempty"`
	Trace   string          `json:"trace,omitempty"`
}

func eval(request evalRequest) (any, error) {
	compiler, _, err := request.compile(nil)
	if err != nil {
		return nil, err
	}
	data, err := store(request.Data)
	if err != nil {
		return nil, err
	}
	path, ok := storage.ParsePathEscaped("/" + strings.TrimPrefix(request.Entrypoint, "/"))
	if !ok {
		return nil, fmt.Errorf("entrypoint %q is not a path", request.Entrypoint)
	}
	tracer := topdown.NewBufferTracer()
	options := []func(*rego.Rego){
		rego.ParsedQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(path.Ref(ast.DefaultRootDocument))))),
		rego.Compiler(compiler),
		rego.Store(data),
		rego.StrictBuiltinErrors(request.StrictBuiltinErrors),
	}
	if request.Input != nil {
		value, err := decode(*request.Input)
		if err != nil {
			return nil, err
		}
		input, err := ast.InterfaceToValue(value)
		if err != nil {
			return nil, err
		}
		options = append(options, rego.ParsedInput(input))
	}
	if request.TimeNs != "" {
		var ns int64
		if _, err := fmt.Sscan(request.TimeNs, &ns); err != nil {
			return nil, err
		}
		options = append(options, rego.Time(time.Unix(0, ns)))
	}
	if request.Explain != "" {
		options = append(options, rego.QueryTracer(tracer))
	}
	results, err := rego.New(options...).Eval(context.Background())
	if err != nil {
		return nil, err
	}
	answer := evalAnswer{Defined: len(results) > 0}
	if answer.Defined {
		if answer.Result, err = json.Marshal(results[0].Expressions[0].Value); err != nil {
			return nil, err
		}
	}
	if request.Explain != "" {
		answer.Trace = explain(*tracer, request.Explain)
	}
	return answer, nil
}

func explain(trace []*topdown.Event, mode string) string {
	switch mode {
	case "notes":
		trace = lineage.Notes(trace)
	case "fails":
		trace = lineage.Fails(trace)
	}
	var text bytes.Buffer
	topdown.PrettyTraceWithLocation(&text, trace)
	return text.String()
}
