// Errors of the parser, the compiler, the loader and the evaluator, as one list with file, line and column.
package main

import (
	"errors"
	"sort"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

type location struct {
	File string `json:"file"`
	Row  int    `json:"row"`
	Col  int    `json:"col"`
}

type problem struct {
	Code     string    `json:"code"`
	Message  string    `json:"message"`
	Location *location `json:"location,omitempty"`
	Details  []string  `json:"details,omitempty"`
}

func locate(l *ast.Location) *location {
	if l == nil {
		return nil
	}
	return &location{File: l.File, Row: l.Row, Col: l.Col}
}

func describe(err error) []problem {
	var many ast.Errors
	if errors.As(err, &many) {
		problems := make([]problem, 0, len(many))
		for _, e := range many {
			problems = append(problems, describeOne(e))
		}
		sort.SliceStable(problems, func(i, j int) bool { return before(problems[i].Location, problems[j].Location) })
		return problems
	}
	var one *ast.Error
	if errors.As(err, &one) {
		return []problem{describeOne(one)}
	}
	var runtime *topdown.Error
	if errors.As(err, &runtime) {
		return []problem{{Code: runtime.Code, Message: runtime.Message, Location: locate(runtime.Location)}}
	}
	return []problem{{Code: "rego_error", Message: err.Error()}}
}

func describeOne(e *ast.Error) problem {
	p := problem{Code: e.Code, Message: e.Message, Location: locate(e.Location)}
	if e.Details != nil {
		p.Details = e.Details.Lines()
	}
	return p
}

func before(a, b *location) bool {
	if a == nil || b == nil {
		return a == nil && b != nil
	}
	if a.File != b.File {
		return a.File < b.File
	}
	if a.Row != b.Row {
		return a.Row < b.Row
	}
	return a.Col < b.Col
}
