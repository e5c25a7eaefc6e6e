//go:build !appliance

package pipeline

import "github.com/lbshipd/lbshipd/sources/file"

var (
	newFileSource = file.New
	fileSaysMore  = file.SaysMore
)
