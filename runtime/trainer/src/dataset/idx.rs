//! Samples from a pair of IDX files (the format of MNIST): images and labels as unsigned bytes.

use super::{DatasetError, Expected, Samples, check_label, error, open, unreadable};
use std::path::Path;

pub(super) fn load(images: &Path, labels: &Path, expected: Expected) -> Result<Samples, DatasetError> {
    let (shape, pixels) = read(images)?;
    let (label_shape, label_bytes) = read(labels)?;
    let features: usize = shape[1..].iter().product();
    if let Some(n) = expected.features.filter(|n| *n != features) {
        let problem = format!("{features} values an image; {n} are expected (parameters.features)");
        return Err(error(images.display(), problem));
    }
    if label_shape.len() != 1 || label_shape[0] != shape[0] {
        let problem = format!("the shape {label_shape:?} is not that of the labels of {} images", shape[0]);
        return Err(error(labels.display(), problem));
    }
    let values = pixels.iter().map(|p| f32::from(*p) / expected.scale).collect();
    let label = |(i, l): (usize, &u8)| {
        check_label(|| format!("{}, label {}", labels.display(), i + 1), u32::from(*l), expected)
    };
    let labels = label_bytes.iter().enumerate().map(label).collect::<Result<_, _>>()?;
    Ok(Samples { shape: shape[1..].to_vec(), values, labels })
}

/// Shape and bytes: two zeros, the type (8: unsigned byte), the number of dimensions, then each as a big-endian `u32`.
fn read(path: &Path) -> Result<(Vec<usize>, Vec<u8>), DatasetError> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes).map_err(|e| unreadable(path, e))?;
    let bad = |problem: &str| error(path.display(), problem);
    let [0, 0, 8, dimensions @ 1..=255, rest @ ..] = bytes.as_slice() else {
        return Err(bad("is not an IDX file of unsigned bytes"));
    };
    let Some((head, data)) = rest.split_at_checked(4 * usize::from(*dimensions)) else {
        return Err(bad("is cut off in its head"));
    };
    let shape: Vec<usize> = head.as_chunks().0.iter().map(|b| u32::from_be_bytes(*b) as usize).collect();
    let size = shape.iter().try_fold(1_usize, |n, extent| n.checked_mul(*extent));
    if size != Some(data.len()) {
        return Err(bad(&format!("has {} values; its head says {shape:?}", data.len())));
    }
    Ok((shape, data.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idx(shape: &[u32], data: &[u8]) -> Vec<u8> {
        let mut file = vec![0, 0, 8, u8::try_from(shape.len()).unwrap()];
        shape.iter().for_each(|n| file.extend_from_slice(&n.to_be_bytes()));
        file.extend_from_slice(data);
        file
    }

    #[test]
    fn images_and_labels_are_read_and_misfits_told() {
        let dir = tempfile::tempdir().unwrap();
        let (images, labels) = (dir.path().join("i"), dir.path().join("l"));
        let expected = Expected { features: Some(4), classes: Some(10), scale: 255.0 };
        std::fs::write(&images, idx(&[2, 2, 2], &[0, 255, 0, 255, 255, 0, 0, 0])).unwrap();
        std::fs::write(&labels, idx(&[2], &[7, 9])).unwrap();
        let samples = load(&images, &labels, expected).unwrap();
        let values = vec![0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0];
        assert_eq!(samples, Samples { shape: vec![2, 2], values, labels: vec![7, 9] });
        assert_eq!(load(&images, &labels, Expected { features: None, classes: None, scale: 255.0 }).unwrap(), samples);

        let says = |expected| load(&images, &labels, expected).unwrap_err().to_string();
        assert!(
            says(Expected { features: Some(5), ..expected })
                .ends_with("4 values an image; 5 are expected (parameters.features)")
        );
        assert!(
            says(Expected { classes: Some(9), ..expected }).ends_with("label 2: the label 9 is not below classes (9)")
        );
        std::fs::write(&labels, idx(&[3], &[7, 9, 1])).unwrap();
        assert!(says(expected).ends_with("the shape [3] is not that of the labels of 2 images"));
        std::fs::write(&labels, idx(&[3], &[7])).unwrap();
        assert!(says(expected).ends_with("has 1 values; its head says [3]"));
        std::fs::write(&labels, b"PNG").unwrap();
        assert!(says(expected).ends_with("is not an IDX file of unsigned bytes"));
    }
}
