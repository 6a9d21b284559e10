// Source files of Rego into parsed and compiled modules.
package main

import (
	"bytes"
	"encoding/json"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"
)

// sources is what every operation on policies starts from. Files maps a path to the text of a Rego module;
// RegoVersion is 1 where absent, 0 for sources that a manifest declares as such.
type sources struct {
	Files       map[string]string `json:"files"`
	RegoVersion *int              `json:"rego_version"`
	// Experimental allows keywords that OPA does not count among its own yet.
	Experimental bool `json:"experimental"`
}

func (s sources) capabilities() *ast.Capabilities {
	return ast.CapabilitiesForThisVersion(ast.CapabilitiesExperimentalKeywords(s.Experimental))
}

func (s sources) version() ast.RegoVersion {
	if s.RegoVersion != nil && *s.RegoVersion == 0 {
		return ast.RegoV0
	}
	return ast.RegoV1
}

// parse reads every module and reports the faults of all of them together.
func (s sources) parse() (map[string]*ast.Module, error) {
	modules := make(map[string]*ast.Module, len(s.Files))
	var faults ast.Errors
	for _, path := range util.KeysSorted(s.Files) {
		module, err := ast.ParseModuleWithOpts(path, s.Files[path], ast.ParserOptions{
			RegoVersion:       s.version(),
			ProcessAnnotation: true,
		})
		if err != nil {
			if errs, ok := err.(ast.Errors); ok {
				faults = append(faults, errs...)
			} else {
				faults = append(faults, ast.NewError(ast.ParseErr, ast.NewLocation(nil, path, 1, 1), "%s", err.Error()))
			}
			continue
		}
		modules[path] = module
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return modules, nil
}

func (s sources) compile(configure func(*ast.Compiler) *ast.Compiler) (*ast.Compiler, map[string]*ast.Module, error) {
	modules, err := s.parse()
	if err != nil {
		return nil, nil, err
	}
	compiler := ast.NewCompiler().WithDefaultRegoVersion(s.version()).WithUseTypeCheckAnnotations(true)
	if configure != nil {
		compiler = configure(compiler)
	}
	compiler.Compile(modules)
	if compiler.Failed() {
		return nil, nil, compiler.Errors
	}
	return compiler, modules, nil
}

// decode keeps numbers as their text.
func decode(raw json.RawMessage) (any, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	var value any
	err := util.UnmarshalJSON(raw, &value)
	return value, err
}

func store(data json.RawMessage) (storage.Store, error) {
	value, err := decode(data)
	if err != nil {
		return nil, err
	}
	object, _ := value.(map[string]any)
	if object == nil {
		object = map[string]any{}
	}
	return inmem.NewFromObjectWithOpts(object, inmem.OptRoundTripOnWrite(false)), nil
}

func yamlToJSON(request struct {
	Text string `json:"text"`
}) (any, error) {
	var value any
	if err := util.Unmarshal([]byte(request.Text), &value); err != nil {
		return nil, err
	}
	return value, nil
}
