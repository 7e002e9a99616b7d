"""EinsumDense: equations that are a Linear, and those that are not."""

from parity_tests.case import case

CASES = [
    case("as dense", "EinsumDense('ab,bc->ac', 5, bias_axes='c', activation='relu')", (7,)),
    case("of steps", "EinsumDense('abc,cd->abd', (None, 5), bias_axes='d')", (4, 7)),
    case("ellipsis", "EinsumDense('...x,xy->...y', 5, bias_axes='y')", (4, 7)),
    case("ellipsis dynamic", "EinsumDense('...x,xy->...y', 5)", (None, 7)),
    case("to heads", "EinsumDense('abc,cde->abde', (None, 2, 5), bias_axes='de')", (4, 7)),
    case("from heads", "EinsumDense('abcd,cde->abe', (None, 5), bias_axes='e')", (4, 2, 7)),
    case("from heads, kernel swapped", "EinsumDense('abcd,edc->abe', (None, 5), bias_axes='e')", (4, 2, 7)),
    case("bias of some axes", "EinsumDense('abc,cde->abde', (None, 2, 5), bias_axes='e')", (4, 7)),
    case("bias of a free axis", "EinsumDense('abc,cd->abd', (4, 5), bias_axes='b')", (4, 7)),
    case("bias of free and new axes", "EinsumDense('abc,cd->abd', (4, 5), bias_axes='bd')", (4, 7)),
    case("of the middle axis", "EinsumDense('abc,bd->adc', (5, 7), bias_axes='dc')", (4, 7)),
    case("with a kernel for each step", "EinsumDense('abc,bcd->abd', (4, 5), bias_axes='bd')", (4, 7)),
    case("that sums an axis", "EinsumDense('abc,cd->ad', 5)", (4, 7)),
    case("right ellipsis", "EinsumDense('ab...,bc->ac...', 5, bias_axes='c')", (4, 7)),
    case("of an image", "Conv2D(3, 2), EinsumDense('bhwc,cd->bhwd', (None, None, 5), bias_axes='d')", (5, 6, 3)),
    case("of a flattened image", "Conv2D(3, 2), Flatten(), EinsumDense('ab,bc->ac', 5)", (5, 6, 3)),
    case("that only weighs", "EinsumDense('abc,c->abc', (4, 7), bias_axes='c')", (4, 7)),
]
