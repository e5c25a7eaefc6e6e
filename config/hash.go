package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// Hash tells what a store holds apart: Event.Hash. It is made of the objects'
// kinds, names and Etags, and of what was given of them but for the secrets, so
// that no secret can be guessed from it, as far as none can be from the Etags.
func Hash(objects []Stored) string {
	sorted := slices.Clone(objects)
	slices.SortStableFunc(sorted, func(a, b Stored) int { return compareKeys(key{a.Kind, a.Name}, key{b.Kind, b.Name}) })
	hash := sha256.New()
	for _, s := range sorted {
		given, err := RenderGiven(s)
		if err != nil {
			given = nil // of an unknown kind
		}
		fmt.Fprintf(hash, "%q %q %q %q\n", s.Kind, s.Name, s.Etag, given)
	}
	return hex.EncodeToString(hash.Sum(nil))
}
