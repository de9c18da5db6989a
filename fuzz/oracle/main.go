// The oracle says what the registry would read.
//
// It takes frames on its standard input, each a length of four bytes, the lowest first, and so many bytes of content, and answers
// each with a line. It does what distribution does in 2.8 and 3.x: json.Unmarshal into structs of the same fields, and go-digest's
// rules for what is a digest. Nothing but the standard library is needed:
//
//	go build -o target/oracle oracle/main.go
//
// `oracle manifests` answers with the shapes that take the manifest, a hexadecimal mask, and what they read in it: `b` and a digest
// for a blob, `m` for a manifest of an index, `s` for a subject. `oracle links` answers `1` for a link that the registry takes.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
)

func main() {
	answer := map[string]func([]byte, *bufio.Writer){"manifests": manifest, "links": link}[strings.Join(os.Args[1:], " ")]
	if answer == nil {
		fmt.Fprintln(os.Stderr, "usage: oracle manifests|links")
		os.Exit(2)
	}
	// Nothing that a manifest leaves behind is large.
	debug.SetGCPercent(2000)
	if err := serve(answer); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func serve(answer func([]byte, *bufio.Writer)) error {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	var content []byte
	for {
		var length uint32
		if err := binary.Read(in, binary.LittleEndian, &length); err == io.EOF {
			return out.Flush()
		} else if err != nil {
			return err
		}
		if int(length) > cap(content) {
			content = make([]byte, length)
		}
		content = content[:length]
		if _, err := io.ReadFull(in, content); err != nil {
			return err
		}
		answer(content, out)
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}

// What a manifest is decoded into. The name says which version of distribution has it, where they differ.

type versioned struct {
	SchemaVersion int    `json:"schemaVersion"`
	MediaType     string `json:"mediaType"`
}

type platform struct {
	Architecture string   `json:"architecture"`
	OS           string   `json:"os"`
	OSVersion    string   `json:"os.version"`
	OSFeatures   []string `json:"os.features"`
	Variant      string   `json:"variant"`
}

type platformSpec struct {
	platform
	Features []string `json:"features"`
}

type descriptor28 struct {
	MediaType   string            `json:"mediaType"`
	Size        int64             `json:"size"`
	Digest      string            `json:"digest"`
	URLs        []string          `json:"urls"`
	Annotations map[string]string `json:"annotations"`
	Platform    *platform         `json:"platform"`
}

type descriptor3 struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls"`
	Annotations  map[string]string `json:"annotations"`
	Data         []byte            `json:"data"`
	Platform     *platform         `json:"platform"`
	ArtifactType string            `json:"artifactType"`
}

type listed28 struct {
	descriptor28
	Platform platformSpec `json:"platform"`
}

type listed3 struct {
	descriptor3
	Platform platformSpec `json:"platform"`
}

type schema1 struct {
	versioned
	Name         string `json:"name"`
	Tag          string `json:"tag"`
	Architecture string `json:"architecture"`
	FSLayers     []struct {
		BlobSum string `json:"blobSum"`
	} `json:"fsLayers"`
	History []struct {
		V1Compatibility string `json:"v1Compatibility"`
	} `json:"history"`
}

type schema2In28 struct {
	versioned
	Config descriptor28   `json:"config"`
	Layers []descriptor28 `json:"layers"`
}

type image28 struct {
	schema2In28
	Annotations map[string]string `json:"annotations"`
}

type schema2In3 struct {
	versioned
	Config descriptor3   `json:"config"`
	Layers []descriptor3 `json:"layers"`
}

type image3 struct {
	schema2In3
	Annotations map[string]string `json:"annotations"`
}

type list28 struct {
	versioned
	Manifests []listed28 `json:"manifests"`
}

type list3 struct {
	versioned
	Manifests []listed3 `json:"manifests"`
}

type index3 struct {
	versioned
	Manifests   []descriptor3     `json:"manifests"`
	Annotations map[string]string `json:"annotations"`
}

// The registry reads no subject; clients of its referrers do.
type subject struct {
	Subject *descriptor3 `json:"subject"`
}

type artifact struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Blobs        []descriptor3     `json:"blobs"`
	Annotations  map[string]string `json:"annotations"`
}

// All shapes at once: whatever decodes into it decodes into each of them, and most manifests need no more.
type all struct {
	versioned
	subject
	Name         string `json:"name"`
	Tag          string `json:"tag"`
	Architecture string `json:"architecture"`
	FSLayers     []struct {
		BlobSum string `json:"blobSum"`
	} `json:"fsLayers"`
	History []struct {
		V1Compatibility string `json:"v1Compatibility"`
	} `json:"history"`
	Config       descriptor3       `json:"config"`
	Layers       []descriptor3     `json:"layers"`
	Manifests    []listed3         `json:"manifests"`
	Blobs        []descriptor3     `json:"blobs"`
	ArtifactType string            `json:"artifactType"`
	Annotations  map[string]string `json:"annotations"`
}

// A read is what is told of a digest that a shape yields.
type read func(role byte, digest string)

func (m schema1) tell(read read) {
	for _, layer := range m.FSLayers {
		read('b', layer.BlobSum)
	}
}

func (m schema2In28) tell(read read) {
	read('b', m.Config.Digest)
	for _, layer := range m.Layers {
		read('b', layer.Digest)
	}
}

func (m schema2In3) tell(read read) {
	read('b', m.Config.Digest)
	for _, layer := range m.Layers {
		read('b', layer.Digest)
	}
}

func (m list28) tell(read read) {
	for _, child := range m.Manifests {
		read('m', child.Digest)
	}
}

func (m list3) tell(read read) {
	for _, child := range m.Manifests {
		read('m', child.Digest)
	}
}

func (m index3) tell(read read) {
	for _, child := range m.Manifests {
		read('m', child.Digest)
	}
}

func (m artifact) tell(read read) {
	for _, blob := range m.Blobs {
		read('b', blob.Digest)
	}
}

func (m subject) tell(read read) {
	if m.Subject != nil {
		read('s', m.Subject.Digest)
	}
}

func (m all) tell(read read) {
	m.subject.tell(read)
	for _, layer := range m.FSLayers {
		read('b', layer.BlobSum)
	}
	read('b', m.Config.Digest)
	for _, layer := range append(m.Layers, m.Blobs...) {
		read('b', layer.Digest)
	}
	for _, child := range m.Manifests {
		read('m', child.Digest)
	}
}

type shape interface{ tell(read) }

// New ones each time: a decoder leaves what it does not mention.
func shapes() []shape {
	return []shape{
		&schema1{}, &schema2In28{}, &image28{}, &schema2In3{}, &image3{}, &list28{}, &list3{}, &index3{}, &artifact{}, &subject{},
	}
}

func manifest(content []byte, out *bufio.Writer) {
	told := make(map[string]bool, 8)
	read := func(role byte, digest string) {
		if isDigest(digest) {
			told[string(role)+digest] = true
		}
	}
	mask := 0
	var whole all
	if json.Unmarshal(content, &whole) == nil {
		whole.tell(read)
		mask = 1<<len(shapes()) - 1
	} else if json.Valid(content) {
		for bit, shape := range shapes() {
			if json.Unmarshal(content, shape) == nil {
				shape.tell(read)
				mask |= 1 << bit
			}
		}
	}
	fmt.Fprintf(out, "%x", mask)
	for digest := range told {
		out.WriteByte(' ')
		out.WriteString(digest)
	}
	out.WriteByte('\n')
}

func link(content []byte, out *bufio.Writer) {
	if isDigest(string(content)) {
		out.WriteString("1\n")
	} else {
		out.WriteString("0\n")
	}
}

// isDigest does what go-digest's Validate does in a program that has these three algorithms: others it calls unsupported.
func isDigest(digest string) bool {
	colon := strings.Index(digest, ":")
	if colon <= 0 {
		return false
	}
	length := map[string]int{"sha256": 64, "sha384": 96, "sha512": 128}[digest[:colon]]
	hex := digest[colon+1:]
	return length > 0 && len(hex) == length && strings.Trim(hex, "0123456789abcdef") == ""
}
