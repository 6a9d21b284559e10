// http.send and net.lookup_ip_addr: OPA's own implementations, with the network itself left to the host.
//
// The host decides what may be reached (and says so with an error); where it has no network, it fails every call.
// Options of http.send that read files, variables or sockets of the machine are refused.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unsafe"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"
)

// networkRequest asks the host for the length of the answer to a request; takeAnswer copies the answer.
//
//go:wasmimport verdict network_request
func networkRequest(request unsafe.Pointer, length uint32) uint32

//go:wasmimport verdict take_answer
func takeAnswer(into unsafe.Pointer)

type hostRequest struct {
	// Op is http or lookup.
	Op      string      `json:"op"`
	Name    string      `json:"name,omitempty"`
	Method  string      `json:"method,omitempty"`
	URL     string      `json:"url,omitempty"`
	Host    string      `json:"host,omitempty"`
	Headers http.Header `json:"headers,omitempty"`
	Body    []byte      `json:"body,omitempty"`
	// TimeoutMs is what is left of the request's own time-out.
	TimeoutMs int64             `json:"timeout_ms,omitempty"`
	TLS       map[string]string `json:"tls,omitempty"`
}

type hostAnswer struct {
	Error     string      `json:"error"`
	Timeout   bool        `json:"timeout"`
	Status    int         `json:"status"`
	Headers   http.Header `json:"headers"`
	Body      []byte      `json:"body"`
	Addresses []string    `json:"addresses"`
}

// hostError keeps what net/url asks of errors that may be time-outs.
type hostError struct {
	message string
	timeout bool
}

func (e *hostError) Error() string { return e.message }
func (e *hostError) Timeout() bool { return e.timeout }

func askHost(request hostRequest) (*hostAnswer, error) {
	text, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	answer := make([]byte, networkRequest(unsafe.Pointer(unsafe.SliceData(text)), uint32(len(text))))
	if len(answer) == 0 {
		return nil, errors.New("this service has no network for policies")
	}
	takeAnswer(unsafe.Pointer(unsafe.SliceData(answer)))
	var decoded hostAnswer
	if err := json.Unmarshal(answer, &decoded); err != nil {
		return nil, err
	}
	if decoded.Error != "" {
		return nil, &hostError{decoded.Error, decoded.Timeout}
	}
	return &decoded, nil
}

// hostTransport sends what http.Client would, redirects one by one.
type hostTransport struct{ tls map[string]string }

func (t hostTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	var body []byte
	if request.Body != nil {
		var err error
		if body, err = io.ReadAll(request.Body); err != nil {
			return nil, err
		}
	}
	ask := hostRequest{
		Op: "http", Method: request.Method, URL: request.URL.String(), Host: request.Host,
		Headers: request.Header, Body: body, TLS: t.tls,
	}
	if deadline, ok := request.Context().Deadline(); ok {
		ask.TimeoutMs = max(1, time.Until(deadline).Milliseconds())
	}
	answer, err := askHost(ask)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status:        fmt.Sprintf("%d %s", answer.Status, http.StatusText(answer.Status)),
		StatusCode:    answer.Status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        answer.Headers,
		Body:          io.NopCloser(bytes.NewReader(answer.Body)),
		ContentLength: int64(len(answer.Body)),
		Request:       request,
	}, nil
}

// tlsOptions are those options of a request that the host applies.
func tlsOptions(request *ast.Term) map[string]string {
	options := map[string]string{}
	object, ok := request.Value.(ast.Object)
	if !ok {
		return options
	}
	object.Foreach(func(key, value *ast.Term) {
		name, ok := key.Value.(ast.String)
		if !ok || !strings.HasPrefix(string(name), "tls_") {
			return
		}
		if text, ok := value.Value.(ast.String); ok {
			options[string(name)] = strings.ReplaceAll(string(text), "\\n", "\n")
		} else {
			options[string(name)] = value.String()
		}
	})
	return options
}

func init() {
	send := topdown.GetBuiltin(ast.HTTPSend.Name)
	topdown.RegisterBuiltinFunc(ast.HTTPSend.Name, func(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
		options := tlsOptions(operands[0])
		for name := range options {
			if strings.HasSuffix(name, "_file") || strings.HasSuffix(name, "_env_variable") {
				return fmt.Errorf("the option %v is not available: policies cannot read files or variables of the machine", name)
			}
		}
		if object, ok := operands[0].Value.(ast.Object); ok {
			if address := object.Get(ast.StringTerm("url")); address != nil && strings.HasPrefix(strings.Trim(address.String(), `"`), "unix:") {
				return errors.New("sockets of the machine are not available to policies")
			}
		}
		bctx.RoundTripper = func(*http.Transport) http.RoundTripper { return hostTransport{options} }
		return send(bctx, operands, iter)
	})
	topdown.RegisterBuiltinFunc(ast.NetLookupIPAddr.Name, lookup)
}

type lookupKey string

// lookup asks once for each name in an evaluation, as OPA does.
func lookup(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
	name, err := builtins.StringOperand(operands[0].Value, 1)
	if err != nil {
		return err
	}
	if known, ok := bctx.Cache.Get(lookupKey(name)); ok {
		return iter(known.(*ast.Term))
	}
	addresses := ast.NewSet()
	if literal := net.ParseIP(string(name)); literal != nil {
		addresses.Add(ast.StringTerm(literal.String()))
	} else {
		answer, err := askHost(hostRequest{Op: "lookup", Name: string(name)})
		if err != nil {
			return err
		}
		for _, address := range answer.Addresses {
			addresses.Add(ast.StringTerm(address))
		}
	}
	term := ast.NewTerm(addresses)
	bctx.Cache.Put(lookupKey(name), term)
	return iter(term)
}
