package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// comments are what the source code says of types (config.Source) and their
// fields (config.Source.Name), without the examples.
type comments map[string]string

// readComments reads all files of some packages' folders, below root.
func readComments(root string, folders ...string) (comments, error) {
	all := comments{}
	for _, folder := range folders {
		entries, err := os.ReadDir(filepath.Join(root, folder))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
				continue
			}
			if err := all.read(filepath.Join(root, folder, e.Name())); err != nil {
				return nil, fmt.Errorf("reading the comments of %s: %w", folder, err)
			}
		}
	}
	return all, nil
}

func (all comments) read(file string) error {
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, d := range tree.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.TYPE {
			continue
		}
		for _, s := range decl.Specs {
			spec, ok := s.(*ast.TypeSpec)
			if !ok {
				continue
			}
			name := tree.Name.Name + "." + spec.Name.Name
			doc := spec.Doc.Text()
			if doc == "" {
				doc = decl.Doc.Text()
			}
			all[name], _ = splitDoc(doc)
			if structure, ok := spec.Type.(*ast.StructType); ok {
				all.fields(name, structure)
			}
		}
	}
	return nil
}

// fields takes the comment above a field, or else the one behind it.
func (all comments) fields(name string, s *ast.StructType) {
	for _, f := range s.Fields.List {
		text := f.Doc.Text()
		if text == "" {
			text = f.Comment.Text()
		}
		for _, id := range f.Names {
			all[name+"."+id.Name] = strings.Join(strings.Fields(text), " ")
		}
	}
}
