"""One training loop for every model and data set of the book.

It knows neither: a model is any `nn.Module`, data are any re-iterable of batches, and a
function of the two gives the loss.
"""

from tutorial_lib.training.checkpoint import CheckpointError
from tutorial_lib.training.classifier import fit_classifier, predict_classes
from tutorial_lib.training.config import History, TrainConfig
from tutorial_lib.training.loop import train
from tutorial_lib.training.predict import predict
from tutorial_lib.training.schedule import factor
from tutorial_lib.training.update import TrainingDiverged

__all__ = [
    "CheckpointError",
    "History",
    "TrainConfig",
    "TrainingDiverged",
    "factor",
    "fit_classifier",
    "predict",
    "predict_classes",
    "train",
]
