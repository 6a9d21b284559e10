// Writes messages of Envoy's own types as they go over the wire, beside the JSON that Google's library makes of them: what
// test/transport/grpc/envoy-messages.test.ts compares our reading and our .proto files with.
//
//	go run . >../../transport/grpc/envoy-messages.json
package main

import (
	"encoding/base64"
	"encoding/json"
	"os"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	kind "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type sample struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Wire string `json:"wire"`
	JSON any    `json:"json"`
}

func main() {
	socket := func(address string, port uint32) *core.Address {
		return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
			Address: address, PortSpecifier: &core.SocketAddress_PortValue{PortValue: port},
		}}}
	}
	metadata, _ := structpb.NewStruct(map[string]any{"n": 1.5, "s": "é\u2028", "b": true, "z": nil, "l": []any{1, map[string]any{}}})
	header := func(key, value string, append bool) *core.HeaderValueOption {
		option := &core.HeaderValueOption{Header: &core.HeaderValue{Key: key, Value: value}}
		if append {
			option.Append = wrapperspb.Bool(true)
		}
		return option
	}
	samples := []sample{
		of("nothing", &auth.CheckRequest{}),
		of("empty attributes", &auth.CheckRequest{Attributes: &auth.AttributeContext{}}),
		of("a request", &auth.CheckRequest{Attributes: &auth.AttributeContext{
			Source:      &auth.AttributeContext_Peer{Address: socket("10.1.2.3", 4711), Principal: "spiffe://td/web", Labels: map[string]string{"l": "1"}, Service: "web", Certificate: "pem"},
			Destination: &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_Pipe{Pipe: &core.Pipe{Path: "/run/s", Mode: 0o600}}}},
			Request: &auth.AttributeContext_Request{
				Time: &timestamppb.Timestamp{Seconds: 1772618400, Nanos: 123456789},
				Http: &auth.AttributeContext_HttpRequest{
					Id: "1", Method: "GET", Path: "/a%20b?x=1", Host: "shop.example", Scheme: "https", Query: "x=1", Fragment: "f", Size: -1, Protocol: "HTTP/2",
					Headers: map[string]string{":path": "/a%20b?x=1", "cookie": "a=\"b\"\\", "x-é": "\u007f"}, Body: "{}",
				},
			},
			ContextExtensions:    map[string]string{"k": "v", "": ""},
			MetadataContext:      &core.Metadata{FilterMetadata: map[string]*structpb.Struct{"f": metadata, "e": {}}},
			RouteMetadataContext: &core.Metadata{},
			TlsSession:           &auth.AttributeContext_TLSSession{Sni: "sni"},
		}}),
		of("bytes, ports by name, numbers that are zero", &auth.CheckRequest{Attributes: &auth.AttributeContext{
			Source: &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
				Address: "::1", PortSpecifier: &core.SocketAddress_NamedPort{NamedPort: "http"}, Ipv4Compat: true, ResolverName: "r",
			}}}},
			Request: &auth.AttributeContext_Request{
				Time: &timestamppb.Timestamp{Seconds: 0, Nanos: 5000000},
				Http: &auth.AttributeContext_HttpRequest{
					Method: "POST", Path: "/", RawBody: []byte{0, 1, 254, 255}, Size: 9007199254740991,
					HeaderMap: &core.HeaderMap{Headers: []*core.HeaderValue{{Key: "a", RawValue: []byte("b")}, {Key: "c", Value: "d"}}},
				},
			},
		}}),
		of("passes", &auth.CheckResponse{Status: &status.Status{}, HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{
			Headers: []*core.HeaderValueOption{header("x-user", "a", false), header("x-user", "b", true)}, HeadersToRemove: []string{"cookie"},
			ResponseHeadersToAdd: []*core.HeaderValueOption{header("x-by", "v", false)},
			QueryParametersToSet: []*core.QueryParameter{{Key: "q", Value: "1"}}, QueryParametersToRemove: []string{"r"},
		}}, DynamicMetadata: metadata}),
		of("does not pass", &auth.CheckResponse{Status: &status.Status{Code: 7, Message: "m"}, HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: &auth.DeniedHttpResponse{
			Status: &kind.HttpStatus{Code: kind.StatusCode_Forbidden}, Headers: []*core.HeaderValueOption{header("x-why", "w", false)}, Body: "no",
		}}}),
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(samples); err != nil {
		panic(err)
	}
}

func of(name string, message proto.Message) sample {
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		panic(err)
	}
	text, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(message)
	if err != nil {
		panic(err)
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		panic(err)
	}
	return sample{name, string(message.ProtoReflect().Descriptor().FullName()), base64.StdEncoding.EncodeToString(wire), value}
}
