"""Words that cannot identify anybody: what "Clean Descriptors" leaves of a free text.

A name can be any word, so a text is not searched for names: everything is dropped but words of this
list, and measures such as 5 mm. The list is the vocabulary of radiology protocols; a
project adds its own.
"""

import re
from collections.abc import Iterable

VOCABULARY = frozenset(
    """
    2d 3d 4d abdomen abdominal acquisition adc adrenal angio angiogram angiography ankle
    anterior ao aorta aortic ap apex arm arterial artery asl aspiration atlas attenuation
    average axial axis b0 b1000 b500 b800 back baseline beam biliary biopsy bladder blade body
    bolus bone bony bowel brain breast bronchial calcium calf cardiac carotid cavum cc
    cerebellum cerebral cervical chest cholangio cine clavicle coil colon colonography
    compressed cone contrast control coronal coronary corrected cranial craniocaudal cranium
    cspine ct cta cube cxr cystic data decubitus delayed density derived diagnostic diffusion
    digital distal dixon dose dual dual-energy duplex dwi dynamic early ears echo elbow emission
    endorectal enhanced enhancement epi esophagus expiration extremity eye face facial fat
    fatsat fdg femoral femur fiesta film filtered fine first fl flair flash flow follow
    follow-up foot for forearm fov frontal fse fused fusion gad gadolinium gallbladder gastric
    gated gating gradient gre hand haste head heart hepatic high high-resolution hip hrct hu
    humerus hyoid iac iliac image images in in-phase inferior infusion injection inspiration
    internal intervention intracranial inversion ir iso ivc joint kernel kidney kidneys knee kub
    late lateral left leg lesion limb liver localiser localizer long low lower ls lumbar lung
    lungs lv lymph mammogram mammography mandible map mask mass maxillary mean mediastinum
    meniscus mesenteric metastasis mip mlo mono mononuclear motion mpr mprage mr mra mrcp mri
    mrv multi multiphase muscle myelography myocardial nac nasal native neck nerve nm no node
    nodule non non-contrast normal nuclear oblique of off opp opposed optic oral orbit orbital
    out out-of-phase overview pa pancreas pancreatic parallel parasagittal patella pd pelvic
    pelvis perfusion peripheral pet phase phases pituitary plain plane pleural post
    post-contrast posterior pre pre-contrast projection prone propeller prostate protocol
    proximal pulmonary qc radial radiograph radius raw reconstructed reconstruction rectal
    rectum reference reformat reformatted region renal resolution respiratory rest resting
    restricted result ribs right routine rt runoff sacral sacrum sagittal scan scaphoid scapula
    scout screening se segmentation sella sequence series short shoulder side sinus sinuses
    skeletal skull slab slice slices small soft spair spect spgr spin spine spiral spleen
    splenic spoiled standard static stealth sternum stir stomach stress study subtracted
    subtraction superior supine suppressed survey susceptibility swi t1 t1w t2 t2star t2w
    temporal test thick thigh thin thoracic thoracolumbar thorax throat thumb thyroid tibia time
    tirm tissue to tof tomography topogram trace trachea tracking transverse trauma trufi tse
    tube tumor tumour turbo twist ultrafast ultrasound unenhanced upper ureter urinary urogram
    urography us uterus vascular vein veins venogram venography venous ventricle ventricular
    vessel vibe view views vol volume wash washout water wb weighted whole whole-body window wip
    with without wo work wrist x-ray xa xray
    """.split()
)
# Words keep the signs within them; a number stays only as a measure, for it could be of a date.
MEASURE = re.compile(r"\d{1,3}(?:[.,]\d{1,2})?\s?(?:mm|cm|kvp?|mas|ms|hz)\b", re.IGNORECASE)
WORD = re.compile(rf"(?<![\w.,])(?:{MEASURE.pattern})|[^\W_]+(?:[-*][^\W_]+)*", re.IGNORECASE)


def cleaned(text: str, more: Iterable[str] = (), never: Iterable[str] = ()) -> str:
    """Return the words of a text that cannot identify anybody, in order; "" where there are none.

    Args:
        text: a free text.
        more: words of the project that may stay, too, in any case.
        never: words that may not, though they are in the vocabulary: of names in the same object.

    Example:
        >>> cleaned("CT Chest w/o contrast, Mr Smith 12.3.1970, 5 mm")
        'CT Chest contrast Mr 5 mm'
    """
    own = VOCABULARY | {word.casefold() for word in more}
    own -= {word.casefold() for word in never}
    return " ".join(
        word for word in WORD.findall(text) if MEASURE.match(word) or word.casefold() in own
    )
