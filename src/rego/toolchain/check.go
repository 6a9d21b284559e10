// Checking and formatting of sources.
package main

import (
	"encoding/json"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/util"
)

type checkRequest struct {
	sources
	// InputSchema is a JSON Schema of `input`; references under it are type-checked. Absent: not checked.
	InputSchema json.RawMessage `json:"input_schema"`
	Strict      bool            `json:"strict"`
}

func check(request checkRequest) (any, error) {
	schema, err := decode(request.InputSchema)
	if err != nil {
		return nil, err
	}
	_, _, err = request.compile(func(c *ast.Compiler) *ast.Compiler {
		if schema != nil {
			schemas := ast.NewSchemaSet()
			schemas.Put(ast.SchemaRootRef, schema)
			c = c.WithSchemas(schemas)
		}
		return c.WithStrict(request.Strict)
	})
	return struct{}{}, err
}

// formatFiles returns the files whose text changes, with the new text.
func formatFiles(request sources) (any, error) {
	changed := map[string]string{}
	var faults ast.Errors
	for _, path := range util.KeysSorted(request.Files) {
		text, err := format.SourceWithOpts(path, []byte(request.Files[path]), format.Opts{RegoVersion: request.version()})
		if err != nil {
			if errs, ok := err.(ast.Errors); ok {
				faults = append(faults, errs...)
				continue
			}
			faults = append(faults, ast.NewError(ast.FormatErr, ast.NewLocation(nil, path, 1, 1), "%s", err.Error()))
			continue
		}
		if string(text) != request.Files[path] {
			changed[path] = string(text)
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return changed, nil
}
