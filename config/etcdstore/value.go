package etcdstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/seal"
)

// valueFormat is what this version writes and reads.
const valueFormat = 1

// hiddenPrefix begins what is shown in place of a secret.
const hiddenPrefix = "(hidden"

// maxValue bounds a key's value, in bytes: an object with its secrets sealed, and what is around it.
const maxValue = config.MaxObjectBytes

// envelope is the value of an object's key. An object by itself, as one would
// write it in a file, will do too: then nothing is known of who wrote it.
type envelope struct {
	Format int `json:"format"`
	// Version is the version that etcd gave the key with this value (how
	// often it was written since it was created). If it is another one, somebody
	// has changed the value without us.
	Version int64     `json:"version"`
	Updated time.Time `json:"updated"`
	By      string    `json:"by,omitempty"`
	Via     string    `json:"via,omitempty"`
	// Since is the revision of etcd that last changed the object, if the value was written again
	// after that to seal its secrets with another key, as version SealedAt.
	Since    int64 `json:"since,omitempty"`
	SealedAt int64 `json:"sealedAt,omitempty"`
	// Object is what was given, with its secrets sealed.
	Object json.RawMessage `json:"object"`
}

// raw is a key's value as it is in etcd.
type raw struct {
	value []byte
	mod   int64 // etcd's revision that wrote it last
	ver   int64 // etcd's version of it: 1 when it was created
}

// same compares values too: an etcd that was restored or replaced counts the same
// revisions once more.
func (r raw) same(o raw) bool {
	return r.mod == o.mod && r.ver == o.ver && bytes.Equal(r.value, o.value)
}

// open takes an envelope apart. An object by itself gets an empty one.
func (r raw) open() (envelope, error) {
	if len(r.value) > maxValue {
		return envelope{}, fmt.Errorf("its value is %d bytes long, more than %d", len(r.value), maxValue)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(r.value, &fields); err != nil {
		return envelope{}, fmt.Errorf("its value is not a JSON object: %s", jsonReason(err))
	}
	if fields == nil {
		return envelope{}, errors.New("its value is not a JSON object, it is null")
	}
	if _, ok := fields["object"]; !ok {
		return envelope{Format: valueFormat, Version: -1, Object: r.value}, nil
	}
	var format struct {
		Format json.Number `json:"format"`
	}
	_ = json.Unmarshal(r.value, &format) // if it is something else, it is no format that is known
	if format.Format.String() != strconv.Itoa(valueFormat) {
		return envelope{Object: fields["object"]}, fmt.Errorf("it was written by another version of lbshipd (format %.20q, this one reads %d)", format.Format.String(), valueFormat)
	}
	var e envelope
	if err := json.Unmarshal(r.value, &e); err != nil {
		return envelope{Object: fields["object"]}, fmt.Errorf("its value is not what lbshipd writes: %s", jsonReason(err))
	}
	return e, nil
}

// jsonReason is what is wrong with a JSON text, without any of the text, which
// may be a secret.
func jsonReason(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("it goes wrong at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Sprintf("%s is not a %s", kind.Field, kind.Type)
	}
	return "it does not fit"
}

// resealed reports whether the value was last written to seal its secrets with another key.
func (e *envelope) resealed(r raw) bool { return e.Since > 0 && e.SealedAt == r.ver }

// etag is what Stored.Etag is: the revision that last changed the object.
func (e *envelope) etag(r raw) string {
	if e.resealed(r) {
		return strconv.FormatInt(e.Since, 10)
	}
	return strconv.FormatInt(r.mod, 10)
}

// encode is the value of an envelope.
func (e *envelope) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// stored makes of a value what a Store returns. What is wrong with it is in its Err.
func (s *Store) stored(kind config.Kind, name string, r raw) config.Stored {
	out := config.Stored{Kind: kind, Name: name, Etag: strconv.FormatInt(r.mod, 10), By: "etcd"}
	fail := func(err error) config.Stored {
		var problems config.Problems
		if !errors.As(err, &problems) {
			problems = config.Problems{{Object: fmt.Sprintf("%s %q", kind.Title(), name), Message: err.Error()}}
		}
		out.Draft.Object, out.Err = nil, problems
		return out
	}
	e, err := r.open()
	out.Draft.Given = e.Object
	if err != nil {
		return fail(err)
	}
	out.Etag = e.etag(r)
	if e.Version == r.ver || e.resealed(r) && e.Version > 0 {
		out.Updated, out.By = e.Updated, e.By
	}
	given, err := s.unseal(kind, name, e.Object)
	if err != nil {
		return fail(err)
	}
	draft, err := config.Decode(kind, s.objectKey(kind, name), given)
	if err != nil {
		return fail(err)
	}
	if got := draft.Object.ObjectName(); got != name {
		return fail(fmt.Errorf("its key ends in %q, but it is named %q", name, got))
	}
	out.Draft = draft
	return out
}

// unseal returns the object with its secrets in clear.
func (s *Store) unseal(kind config.Kind, name string, object []byte) ([]byte, error) {
	return config.Secrets(kind, object, func(field, text string) (string, error) {
		if strings.HasPrefix(text, hiddenPrefix) {
			return "", errors.New("it stands for a secret, and is none")
		}
		if !seal.IsSealed(text) {
			return text, nil
		}
		if s.o.Keys == nil {
			return "", fmt.Errorf("it is sealed (key %s), and no cluster key file is given", seal.KeyID(text))
		}
		return s.o.Keys.Open(seal.Place{Kind: string(kind), Name: name, Field: field}, text)
	})
}

// sealed returns the object with its secrets sealed, if there are keys.
func (s *Store) sealed(kind config.Kind, name string, given []byte) ([]byte, error) {
	return config.Secrets(kind, given, func(field, text string) (string, error) {
		if s.o.Keys == nil {
			if seal.IsSealed(text) {
				return "", errors.New(`no secret may begin with "sealed:" while there is no cluster key file`)
			}
			return text, nil
		}
		return s.o.Keys.Seal(seal.Place{Kind: string(kind), Name: name, Field: field}, text)
	})
}

// memo remembers what values were decoded to: of a thousand objects, one changes.
type memo struct {
	mu    sync.Mutex
	keys  int                   // how often the cluster keys had changed
	byKey map[string]remembered // by key in etcd
}

type remembered struct {
	of     raw
	stored config.Stored
}

// keyChanges is how often the cluster keys have changed.
func (s *Store) keyChanges() int {
	if s.o.Keys == nil {
		return 0
	}
	return s.o.Keys.Changes()
}

// objects decodes all objects of a snapshot, by kind and name.
func (s *Store) objects(snap *snapshot) []config.Stored {
	s.decoded.mu.Lock()
	defer s.decoded.mu.Unlock()
	if keys := s.keyChanges(); keys != s.decoded.keys {
		s.decoded.keys, s.decoded.byKey = keys, nil // other keys open other secrets
	}
	next := make(map[string]remembered, len(snap.values))
	var all []config.Stored
	for key, r := range snap.values {
		kind, name, ok := s.object(key)
		if !ok {
			continue
		}
		m, known := s.decoded.byKey[key]
		if !known || !m.of.same(r) {
			m = remembered{r, s.stored(kind, name, r)}
		}
		next[key] = m
		all = append(all, m.stored)
	}
	s.decoded.byKey = next
	sortStored(all)
	return all
}
