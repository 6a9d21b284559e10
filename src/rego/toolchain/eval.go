// One evaluation by OPA's own evaluator: the oracle in tests, and the source of explanations.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
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
	Input *json.RawMessage `json:"input"`
	// Inputs asks the same question of several inputs; the answers come as a list.
	Inputs              []*json.RawMessage `json:"inputs"`
	Entrypoint          string             `json:"entrypoint"`
	StrictBuiltinErrors bool               `json:"strict_builtin_errors"`
	// Explain is notes, fails or full; empty: no trace.
	Explain string `json:"explain"`
	// TimeNs is the instant of the evaluation in nanoseconds since 1970, as text; empty: now.
	TimeNs string `json:"time_ns"`
}

type evalAnswer struct {
	Defined bool            `json:"defined"`
	Result  json.RawMessage `json:"result,omitempty"`
	Trace   string          `json:"trace,omitempty"`
	// Failures are those of one input among several.
	Failures []problem `json:"failures,omitempty"`
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
	options := []func(*rego.Rego){
		rego.ParsedQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(path.Ref(ast.DefaultRootDocument))))),
		rego.Compiler(compiler),
		rego.Store(data),
		rego.StrictBuiltinErrors(request.StrictBuiltinErrors),
	}
	query, err := rego.New(options...).PrepareForEval(context.Background())
	if err != nil {
		return nil, err
	}
	if request.Inputs == nil {
		return request.answer(query, request.Input)
	}
	answers := make([]*evalAnswer, 0, len(request.Inputs))
	for _, input := range request.Inputs {
		answer, err := request.answer(query, input)
		if err != nil {
			answer = &evalAnswer{Failures: describe(err)}
		}
		answers = append(answers, answer)
	}
	return answers, nil
}

func (request evalRequest) answer(query rego.PreparedEvalQuery, text *json.RawMessage) (*evalAnswer, error) {
	options := []rego.EvalOption{}
	if text != nil {
		value, err := decode(*text)
		if err != nil {
			return nil, err
		}
		input, err := ast.InterfaceToValue(value)
		if err != nil {
			return nil, err
		}
		options = append(options, rego.EvalParsedInput(input))
	}
	if request.TimeNs != "" {
		ns, err := strconv.ParseInt(request.TimeNs, 10, 64)
		if err != nil {
			return nil, err
		}
		options = append(options, rego.EvalTime(time.Unix(0, ns)))
	}
	tracer := topdown.NewBufferTracer()
	if request.Explain != "" {
		options = append(options, rego.EvalQueryTracer(tracer))
	}
	results, err := query.Eval(context.Background(), options...)
	if err != nil {
		return nil, err
	}
	answer := &evalAnswer{Defined: len(results) > 0}
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
