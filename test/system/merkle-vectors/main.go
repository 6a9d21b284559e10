// Prints trees, proofs and signed notes as other implementations make them (transparency-dev/merkle, golang.org/x/mod), for
// test/audit/tree.test.ts: `go run . > ../../audit/merkle-vectors.json`.
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/merkle/testonly"
	"golang.org/x/mod/sumdb/note"
)

type vector struct {
	Old   uint64   `json:"old"`
	Size  uint64   `json:"size"`
	Proof []string `json:"proof"`
}

func encode(hashes [][]byte) []string {
	all := []string{}
	for _, one := range hashes {
		all = append(all, base64.StdEncoding.EncodeToString(one))
	}
	return all
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	const size = 19
	tree := testonly.New(rfc6962.DefaultHasher)
	entries := []string{}
	for i, entry := range testonly.LeafInputs() {
		entries = append(entries, base64.StdEncoding.EncodeToString(entry))
		tree.AppendData(testonly.LeafInputs()[i])
	}
	for i := len(entries); i < size; i++ {
		entry := []byte(fmt.Sprintf("entry %d", i))
		entries = append(entries, base64.StdEncoding.EncodeToString(entry))
		tree.AppendData(entry)
	}
	roots := []string{}
	inclusion, consistency := []vector{}, []vector{}
	for n := uint64(0); n <= size; n++ {
		roots = append(roots, base64.StdEncoding.EncodeToString(tree.HashAt(n)))
		for i := uint64(0); i < n; i++ {
			path := must(tree.InclusionProof(i, n))
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, i, n, tree.LeafHash(i), path, tree.HashAt(n)); err != nil {
				panic(err)
			}
			inclusion = append(inclusion, vector{i, n, encode(path)})
		}
		for m := uint64(1); m <= n; m++ {
			consistency = append(consistency, vector{m, n, encode(must(tree.ConsistencyProof(m, n)))})
		}
	}
	// The worked example of the package note.
	signer := must(note.NewSigner("PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"))
	text := "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
	signed := string(must(note.Sign(&note.Note{Text: text}, signer)))
	out := map[string]any{
		"entries": entries, "roots": roots, "inclusion": inclusion, "consistency": consistency,
		"note": map[string]string{
			"verifier": "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "text": text, "signed": signed,
			"seed": base64.StdEncoding.EncodeToString(must(base64.StdEncoding.DecodeString("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"))[1:]),
		},
	}
	must(0, json.NewEncoder(os.Stdout).Encode(out))
}
